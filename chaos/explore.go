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
	chosen := choose(o)
	if len(chosen) == 0 {
		return nil, fmt.Errorf("no operation %q", o.operation)
	}
	points := make([][]string, len(chosen))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(o.jobs)
	for i, op := range chosen {
		if o.point != "" {
			points[i] = []string{o.point}
			continue
		}
		g.Go(func() error {
			c, err := play(ctx, w, op, "", "")
			if err != nil {
				return err
			}
			m.add(c)
			points[i] = tries(c.points, o.repeat)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return tasks(chosen, points, o), nil
}

// choose returns the operations that the options ask for.
func choose(o options) (list []operation) {
	for _, op := range operations() {
		if o.operation == "" || o.operation == op.name {
			list = append(list, op)
		}
	}
	if o.short {
		random := rand.New(rand.NewPCG(o.seed, 2))
		random.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		list = list[:min(len(list), sampleOperations)]
	}
	return list
}

// tasks returns one for each point of an operation and each fault.
func tasks(chosen []operation, points [][]string, o options) (list []task) {
	faults := []string{"kill", "error"}
	if o.fault != "" {
		faults = []string{o.fault}
	}
	for i, op := range chosen {
		for _, point := range points[i] {
			if !strings.Contains(point, "#") {
				point += "#1"
			}
			for _, fault := range faults {
				list = append(list, task{op, point, fault})
			}
		}
	}
	return list
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

// A sample of so many operations and cells takes half a minute.
const (
	sampleOperations = 8
	sampleSize       = 16
)

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
