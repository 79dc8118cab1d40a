package metrics_test

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"lap/server/metrics"
)

// A scrape is a parsed page of metrics.
type scrape struct {
	kinds   map[string]string // of a family
	samples map[string]float64
	order   []string // of the samples
}

var (
	helpLine   = regexp.MustCompile(`^# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)$`)
	typeLine   = regexp.MustCompile(`^# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|histogram)$`)
	sampleLine = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$`)
	labelPair  = regexp.MustCompile(`^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"(,|$)`)
)

// read parses what m writes, strictly.
func read(t *testing.T, m *metrics.Metrics) scrape {
	t.Helper()
	var b bytes.Buffer
	n, err := m.WriteTo(&b)
	if err != nil || n != int64(b.Len()) {
		t.Fatalf("WriteTo = %d, %v; want %d", n, err, b.Len())
	}
	s := scrape{kinds: map[string]string{}, samples: map[string]float64{}}
	if err := s.parse(b.String()); err != nil {
		t.Fatalf("%v in:\n%s", err, b.String())
	}
	return s
}

func (s *scrape) parse(page string) error {
	if !strings.HasSuffix(page, "\n") {
		return fmt.Errorf("no line end at the end")
	}
	help, family := "", ""
	for line := range strings.SplitSeq(strings.TrimSuffix(page, "\n"), "\n") {
		if found := helpLine.FindStringSubmatch(line); found != nil {
			help = found[1]
		} else if found := typeLine.FindStringSubmatch(line); found != nil {
			family = found[1]
			if family != help || s.kinds[family] != "" {
				return fmt.Errorf("TYPE without HELP, or twice: %s", line)
			}
			s.kinds[family] = found[2]
		} else if err := s.sample(family, line); err != nil {
			return err
		}
	}
	return s.histograms()
}

func (s *scrape) sample(family, line string) error {
	found := sampleLine.FindStringSubmatch(line)
	if found == nil {
		return fmt.Errorf("not a sample: %q", line)
	}
	name := found[1]
	if s.kinds[family] == "histogram" {
		name = strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_sum"), "_count")
	}
	if name != family {
		return fmt.Errorf("sample outside its family %s: %q", family, line)
	}
	var names []string
	for rest := found[2]; rest != ""; {
		pair := labelPair.FindStringSubmatch(rest)
		if pair == nil {
			return fmt.Errorf("not labels: %q", line)
		}
		names, rest = append(names, pair[1]), rest[len(pair[0]):]
	}
	if !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) {
		return fmt.Errorf("labels not sorted, or twice: %q", line)
	}
	value, err := strconv.ParseFloat(found[3], 64)
	key := strings.TrimSuffix(line, " "+found[3])
	if _, twice := s.samples[key]; err != nil || twice {
		return fmt.Errorf("bad value, or sample twice: %q", line)
	}
	s.samples[key], s.order = value, append(s.order, key)
	return nil
}

// histograms checks that buckets grow, and end at _count.
func (s *scrape) histograms() error {
	bound := regexp.MustCompile(`(?:^|,)?le="([^"]*)",?`)
	var last float64
	var lastBound float64
	for _, key := range s.order {
		name, labels, _ := strings.Cut(key, "{")
		family, ok := strings.CutSuffix(name, "_bucket")
		if !ok {
			continue
		}
		found := bound.FindStringSubmatch(labels)
		if found == nil {
			return fmt.Errorf("a bucket without le: %s", key)
		}
		le, err := strconv.ParseFloat(found[1], 64)
		if err != nil {
			return err
		}
		if le > lastBound && s.samples[key] < last {
			return fmt.Errorf("bucket is less than the one before: %s", key)
		}
		last, lastBound = s.samples[key], le
		rest := strings.TrimSuffix(strings.Replace(labels, found[0], "", 1), "}")
		if rest != "" {
			rest = "{" + rest + "}"
		}
		_, hasSum := s.samples[family+"_sum"+rest]
		if count, ok := s.samples[family+"_count"+rest]; !ok || !hasSum || found[1] == "+Inf" && count != last {
			return fmt.Errorf("%s does not fit its _count or _sum", key)
		}
	}
	return nil
}
