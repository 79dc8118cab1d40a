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

// A row is what came of a kill and of an error at some points of an operation.
type row struct{ operation, kill, fail string }

// print writes a table in Markdown. Points of one operation at which the same came of both
// faults share a line.
func (m *matrix) print(out io.Writer) {
	fmt.Fprintln(out, "| operation | kill | error | at |")
	fmt.Fprintln(out, "|---|---|---|---|")
	var rows []row
	at := map[row][]string{}
	for _, r := range m.results() {
		if at[r.row] == nil {
			rows = append(rows, r.row)
		}
		at[r.row] = append(at[r.row], r.point)
	}
	for _, r := range rows {
		fmt.Fprintf(out, "| %s | %s | %s | %s |\n", r.operation, r.kill, r.fail, strings.Join(at[r], " "))
	}
	m.conclude(out)
}

// A result is what came of the cells of one point.
type result struct {
	row
	point string // as it is printed
}

func (m *matrix) results() (list []result) {
	for _, c := range m.ordered() {
		if c.point == "" {
			list = append(list, result{row{"**" + c.operation + "**", c.result(), ""}, "no fault"})
			continue
		}
		point := "`" + strings.TrimSuffix(c.point, "#1") + "`"
		if n := len(list); n == 0 || list[n-1].operation != c.operation || list[n-1].point != point {
			list = append(list, result{row{operation: c.operation}, point})
		}
		last := &list[len(list)-1]
		if c.fault == "kill" {
			last.kill = c.result()
		} else {
			last.fail = c.result()
		}
	}
	return list
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
