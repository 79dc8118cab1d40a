// Chaos proves that lap comes through crashes and failing calls. It runs operations
// against a lap that is built with the tag chaos, with real sandboxes, and at every
// point that an operation passes kills the server, or makes the call fail that the point
// belongs to. Then it checks that nothing is lost, done twice, left over or stuck. Last it
// kills the server at random times under load.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"lap/sandbox"
)

// options are what the command line says.
type options struct {
	sandbox   string // what runs sandboxes
	operation string // ""; all
	point     string // "": all
	fault     string // "": both
	rounds    int    // of random kills
	jobs      int    // cells at once
	repeat    int    // points of one name that are tried
	short     bool   // only a sample
	seed      uint64
	verbose   bool
}

func main() {
	var o options
	flag.StringVar(&o.sandbox, "sandbox", sandbox.Docker, "what runs sandboxes: docker or native")
	flag.StringVar(&o.operation, "op", "", "only this operation, or \"load\" for the random kills")
	flag.StringVar(&o.point, "point", "", "only this point, such as commit.SendTurn:before, or runtime.Remove:after#2 for the second of that name")
	flag.StringVar(&o.fault, "fault", "", "only this fault: kill or error")
	flag.IntVar(&o.rounds, "rounds", 20, "random kills under load")
	flag.IntVar(&o.jobs, "j", 3, "operations at once")
	flag.IntVar(&o.repeat, "repeat", 2, "how many points of one name are tried in one operation")
	flag.BoolVar(&o.short, "short", false, "a sample that takes less than a minute")
	flag.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano()), "of what is random")
	flag.BoolVar(&o.verbose, "v", false, "print each result as it comes")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		os.Exit(1)
	}
}

// errViolations says that something that lap promises did not hold.
var errViolations = errors.New("there are violations")

func run(ctx context.Context, o options) (err error) {
	w, err := newWorld(ctx, o.sandbox)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close(context.WithoutCancel(ctx))) }()
	fmt.Fprintf(os.Stderr, "sandboxes of %s, seed %d\n", o.sandbox, o.seed)
	m := &matrix{verbose: o.verbose}
	if o.operation != "load" {
		if err := explore(ctx, w, o, m); err != nil {
			return err
		}
	}
	if o.operation == "" && o.point == "" || o.operation == "load" {
		m.add(storm(ctx, w, o))
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	m.add(w.neighbour.untouched(ctx))
	m.print(os.Stdout)
	if m.violations() > 0 {
		return errViolations
	}
	return nil
}
