//go:build linux

// Command guest is the first process of sandboxes under test. Over every pipe it takes
// shell commands, JSON strings, and answers what they print.
package main

import (
	"encoding/json"
	"io"
	"log"
	"os"
	"os/exec"

	"lap/sandbox/native/cell"
)

func main() {
	entered, err := cell.Enter()
	if err != nil {
		log.Fatal(err)
	}
	if entered.Life != nil {
		go func() {
			_, _ = io.Copy(io.Discard, entered.Life) // nothing comes but its end
			os.Exit(0)
		}()
	}
	go serve(os.Stdin, os.Stdout)
	for {
		conn, err := entered.Pipes.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go serve(conn, conn)
	}
}

func serve(in io.Reader, out io.Writer) {
	commands, answers := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var command string
		if err := commands.Decode(&command); err != nil {
			return
		}
		text, err := exec.Command("sh", "-c", command).CombinedOutput()
		if err != nil {
			text = append(text, err.Error()...)
		}
		if err := answers.Encode(string(text)); err != nil {
			return
		}
	}
}
