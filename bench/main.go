// Bench measures lap against floors taken in the same run, on this machine, and prints
// one table of ratios. It needs ./lap, a Docker engine and the default image. Arguments
// choose some of the measurements by their names.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"text/tabwriter"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// A result is one row: what was measured, the floor it is compared with, both as text,
// and how they relate.
type result struct {
	what, measured, floor, relation string
}

// measurements are all there is, in order.
var measurements = []struct {
	name string
	take func(context.Context, *world) ([]result, error)
}{
	{"start", start},
	{"read", read},
	{"cold", cold},
	{"native", native},
	{"ephemeral", ephemeral},
	{"round", round},
	{"pipes", pipes},
	{"message", message},
	{"memory", memory},
	{"appends", appends},
	{"warm", warm},
	{"thaw", thaw},
	{"share", share},
	{"fanout", fanOut},
	{"egress", egress},
	{"credentials", credentials},
	{"adoption", adoption},
}

func run(ctx context.Context, names []string) (err error) {
	w, err := newWorld(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close(context.WithoutCancel(ctx))) }()
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "what\tmeasured\tfloor\trelation")
	for _, m := range measurements {
		if len(names) > 0 && !slices.Contains(names, m.name) {
			continue
		}
		rows, err := m.take(ctx, w)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		for _, r := range rows {
			fmt.Fprintf(out, "%s\t%s\t%s\t%s\n", r.what, r.measured, r.floor, r.relation)
		}
	}
	return out.Flush()
}
