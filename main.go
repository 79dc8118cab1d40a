// Lap is the LiteLLM Agent Platform in one binary: server, command line, and the
// program inside each sandbox.
package main

import (
	_ "embed"
	"os"

	"lap/cmd"
)

//go:embed schema.sql
var schema string

func main() { os.Exit(cmd.Execute(schema)) }
