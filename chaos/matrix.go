package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
)

// A matrix is what came of all cells.
type matrix struct {
	verbose bool

	mu    sync.Mutex // guards cells
	cells []cell
}

func (m *matrix) add(c cell) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cells = append(m.cells, c)
	if m.verbose || len(c.wrong) > 0 {
		fmt.Fprintf(os.Stderr, "%s %s %s: %s\n", c.operation, c.point, c.fault, c.result())
	}
	for _, what := range c.wrong {
		fmt.Fprintln(os.Stderr, "  VIOLATION:", what)
	}
}

// result is a cell in a few words.
func (c cell) result() string {
	switch {
	case len(c.wrong) > 0:
		return "VIOLATION"
	case c.point != "" && !c.reached:
		return "not reached"
	case c.got == "":
		return c.after + " ok"
	}
	return c.got + " → " + c.after + " ok"
}

func (m *matrix) violations() (n int) {
	for _, c := range m.cells {
		if len(c.wrong) > 0 {
			n++
		}
	}
	return n
}

// print writes a table in Markdown: a line for each operation and point, with what came
// of a kill and of an error there.
func (m *matrix) print(out io.Writer) {
	fmt.Fprintln(out, "| operation | point | kill | error |")
	fmt.Fprintln(out, "|---|---|---|---|")
	type line struct{ operation, point string }
	results := map[line]map[string]string{}
	var lines []line
	for _, c := range m.ordered() {
		at := line{c.operation, c.point}
		if results[at] == nil {
			results[at] = map[string]string{}
			lines = append(lines, at)
		}
		results[at][c.fault] = c.result()
	}
	for _, at := range lines {
		r := results[at]
		if at.point == "" {
			fmt.Fprintf(out, "| **%s** | no fault | %s | |\n", at.operation, r[""])
			continue
		}
		fmt.Fprintf(out, "| %s | `%s` | %s | %s |\n", at.operation, at.point, r["kill"], r["error"])
	}
	m.conclude(out)
}

// ordered returns the cells, those of one operation together, its plain run first, and
// its points in the order in which that one passed them.
func (m *matrix) ordered() []cell {
	rank := map[string]int{}
	for i, op := range operations() {
		rank[op.name] = i + 1
	}
	at := map[string]map[string]int{}
	for _, c := range m.cells {
		if c.point == "" {
			at[c.operation] = map[string]int{}
			for i, point := range tries(c.points, len(c.points)) {
				at[c.operation][point] = i + 1
			}
		}
	}
	return slices.SortedStableFunc(slices.Values(m.cells), func(a, b cell) int {
		if d := rank[a.operation] - rank[b.operation]; d != 0 {
			return d
		}
		return at[a.operation][a.point] - at[b.operation][b.point]
	})
}

// conclude writes the sums, and how to run again what went wrong.
func (m *matrix) conclude(out io.Writer) {
	var faults, missed int
	for _, c := range m.cells {
		switch {
		case c.point == "":
		case c.reached:
			faults++
		default:
			missed++
		}
	}
	fmt.Fprintf(out, "\n%d cells with a fault, %d not reached, %d violations\n", faults, missed, m.violations())
	for _, c := range m.cells {
		if len(c.wrong) > 0 {
			fmt.Fprintf(out, "\nVIOLATION in `go run ./chaos %s`:\n- %s\n", c.args, strings.Join(c.wrong, "\n- "))
		}
	}
}
