package metrics

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A family is one metric with all its series.
type family struct {
	name, help string
	labels     []string  // sorted
	bounds     []float64 // of a histogram; nil: a counter
	series     map[string]*series
}

// A series is one combination of label values. A counter uses only count.
type series struct {
	values  []string
	count   uint64
	sum     time.Duration
	buckets []uint64 // not cumulative; what is above all bounds is in none
}

func (m *Metrics) counter(name, help string, labels ...string) *family {
	return m.define(&family{name: name, help: help, labels: labels})
}

func (m *Metrics) histogram(name, help string, bounds []float64, labels ...string) *family {
	return m.define(&family{name: name, help: help, bounds: bounds, labels: labels})
}

// define adds a family; one without labels has its series from the start.
func (m *Metrics) define(f *family) *family {
	f.series = make(map[string]*series)
	if len(f.labels) == 0 {
		f.at(nil)
	}
	m.all = append(m.all, f)
	return f
}

// at is the series of these values, in the order of the labels.
func (f *family) at(values []string) *series {
	key := strings.Join(values, "\xff") // is in no UTF-8 text
	s := f.series[key]
	if s == nil {
		s = &series{values: slices.Clone(values), buckets: make([]uint64, len(f.bounds))}
		f.series[key] = s
	}
	return s
}

// add counts one more.
func (m *Metrics) add(f *family, values ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f.at(values).count++
}

// observe counts a duration; one below zero, from a clock set back, counts as zero.
func (m *Metrics) observe(f *family, d time.Duration, values ...string) {
	d = max(d, 0)
	m.mu.Lock()
	defer m.mu.Unlock()
	s := f.at(values)
	s.count++
	s.sum += d
	if i, _ := slices.BinarySearch(f.bounds, d.Seconds()); i < len(s.buckets) {
		s.buckets[i]++
	}
}

// write writes the family; its series are sorted, so that two writings can be compared.
func (f *family) write(b *strings.Builder) {
	kind := "counter"
	if f.bounds != nil {
		kind = "histogram"
	}
	fmt.Fprintf(b, "# HELP %s %s\n# TYPE %s %s\n", f.name, f.help, f.name, kind)
	for _, key := range slices.Sorted(maps.Keys(f.series)) {
		if s := f.series[key]; f.bounds == nil {
			fmt.Fprintf(b, "%s%s %d\n", f.name, f.set(s, ""), s.count)
		} else {
			f.writeHistogram(b, s)
		}
	}
}

func (f *family) writeHistogram(b *strings.Builder, s *series) {
	var below uint64
	for i, bound := range f.bounds {
		below += s.buckets[i]
		fmt.Fprintf(b, "%s_bucket%s %d\n", f.name, f.set(s, number(bound)), below)
	}
	fmt.Fprintf(b, "%s_bucket%s %d\n", f.name, f.set(s, "+Inf"), s.count)
	fmt.Fprintf(b, "%s_sum%s %s\n", f.name, f.set(s, ""), number(s.sum.Seconds()))
	fmt.Fprintf(b, "%s_count%s %d\n", f.name, f.set(s, ""), s.count)
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

var escape = strings.NewReplacer(`\`, `\\`, "\n", `\n`, `"`, `\"`).Replace

// set is the labels of a series, sorted, with the bound of a bucket if there is one.
func (f *family) set(s *series, bound string) string {
	var pairs []string
	if bound != "" {
		pairs = append(pairs, `le="`+bound+`"`)
	}
	for i, label := range f.labels {
		pairs = append(pairs, label+`="`+escape(strings.ToValidUTF8(s.values[i], "\uFFFD"))+`"`)
	}
	if len(pairs) == 0 {
		return ""
	}
	slices.Sort(pairs)
	return "{" + strings.Join(pairs, ",") + "}"
}
