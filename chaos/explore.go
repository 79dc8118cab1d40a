package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
)

// background are points that are passed all the time, and where nothing is changed. One
// of each is enough.
var background = []string{"runtime.List:", "runtime.Image:", "runtime.Build:", "runtime.Ping:", "runtime.Ensure:", "commit.SetPhase:", "commit.PackEvents:", "commit.SaveOutput:"}

// explore runs the cells that the options ask for.
func explore(ctx context.Context, w *world, o options, m *matrix) error {
	plan, err := plan(ctx, w, o, m)
	if err != nil {
		return err
	}
	if o.short {
		plan = sample(plan, o.seed)
	}
	fmt.Fprintf(os.Stderr, "%d cells\n", len(plan))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(o.jobs)
	for _, todo := range plan {
		g.Go(func() error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			c, err := play(ctx, w, todo.operation, todo.point, todo.fault)
			if err != nil {
				return err
			}
			m.add(c)
			return nil
		})
	}
	return g.Wait()
}

// A task is a cell that is to be run.
type task struct {
	operation    operation
	point, fault string
}

// plan runs every operation once without a fault, and returns a task for each point that
// it passed.
func plan(ctx context.Context, w *world, o options, m *matrix) ([]task, error) {
	faults := []string{"kill", "error"}
	if o.fault != "" {
		faults = []string{o.fault}
	}
	var list []task
	for _, op := range operations() {
		if o.operation != "" && o.operation != op.name {
			continue
		}
		points := []string{o.point}
		if o.point == "" {
			c, err := play(ctx, w, op, "", "")
			if err != nil {
				return nil, err
			}
			m.add(c)
			points = tries(c.points, o.repeat)
		} else if !strings.Contains(o.point, "#") {
			points[0] += "#1"
		}
		for _, point := range points {
			for _, fault := range faults {
				list = append(list, task{op, point, fault})
			}
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("no operation %q", o.operation)
	}
	return list, nil
}

// tries names the points to try: the first few of each name, in the order in which they
// were passed.
func tries(passed []string, repeat int) (list []string) {
	times := map[string]int{}
	for _, line := range passed {
		for name := range strings.FieldsSeq(line) {
			limit := repeat
			if slices.ContainsFunc(background, func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
				limit = 1
			}
			if times[name]++; times[name] <= limit {
				list = append(list, fmt.Sprintf("%s#%d", name, times[name]))
			}
		}
	}
	return list
}

// sampleSize is how many cells take half a minute.
const sampleSize = 14

// sample takes some tasks at random, with one of each operation first.
func sample(plan []task, seed uint64) []task {
	random := rand.New(rand.NewPCG(seed, seed))
	random.Shuffle(len(plan), func(i, j int) { plan[i], plan[j] = plan[j], plan[i] })
	seen := map[string]bool{}
	var list, rest []task
	for _, t := range plan {
		if seen[t.operation.name] {
			rest = append(rest, t)
			continue
		}
		seen[t.operation.name] = true
		list = append(list, t)
	}
	return append(list, rest...)[:min(sampleSize, len(plan))]
}
