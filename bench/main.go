// Bench measures lap against floors taken in the same run, on this machine, and prints
// one table of ratios. It needs ./lap, a Docker engine and the default image.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"text/tabwriter"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// A result is one row: what was measured, the floor it is compared with, both as text,
// and how they relate.
type result struct {
	what, measured, floor, relation string
}

func run(ctx context.Context) (err error) {
	w, err := newWorld(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close(context.WithoutCancel(ctx))) }()
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "what\tmeasured\tfloor\trelation")
	for _, measure := range []func(context.Context, *world) ([]result, error){
		start, read, cold, pipes, message, memory, appends, warm, thaw, share, fanOut, adoption,
	} {
		rows, err := measure(ctx, w)
		if err != nil {
			return err
		}
		for _, r := range rows {
			fmt.Fprintf(out, "%s\t%s\t%s\t%s\n", r.what, r.measured, r.floor, r.relation)
		}
	}
	return out.Flush()
}
