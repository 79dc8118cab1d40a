package metrics_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lap/server/metrics"
)

// contract is what section 9 of the REST contract names: type, labels, buckets.
var contract = map[string]string{
	"session_spawn_total":                  "counter path result",
	"session_spawn_failure_total":          "counter path reason",
	"session_spawn_duration_seconds":       "histogram path : 1 5 10 30 60 120 300 600",
	"session_phase_duration_seconds":       "histogram phase : 0.5 1 5 10 30 60 120 300",
	"warm_pool_hit_total":                  "counter",
	"warm_pool_miss_total":                 "counter",
	"warm_pool_provision_total":            "counter result",
	"warm_pool_provision_duration_seconds": "histogram : 0.5 1 5 10 30 60 120 300",
	"reconcile_failed_creating_total":      "counter",
	"reconcile_idle_killed_total":          "counter",
	"reconcile_ghost_killed_total":         "counter",
	"reconcile_warm_stale_killed_total":    "counter",
	"reconcile_duration_seconds":           "histogram : 0.1 0.5 1 2 5 10 30",
	"sandbox_oom_killed_total":             "counter agent_id",
	"session_death_total":                  "counter reason",
	"automations_fired_total":              "counter",
	"automations_failed_total":             "counter",
	"automation_runs_resolved_total":       "counter",
}

func TestEveryMetricIsThereFromTheStart(t *testing.T) {
	s := read(t, metrics.New())
	if want := len(contract) + 1; len(s.kinds) != want || s.kinds["go_goroutines"] != "gauge" || s.samples["go_goroutines"] < 1 {
		t.Errorf("%d families, want %d, goroutines among them", len(s.kinds), want)
	}
	for name, spec := range contract {
		kind, labels, _ := strings.Cut(strings.Split(spec, " :")[0], " ")
		if s.kinds[name] != kind {
			t.Errorf("type of %s = %q, want %q", name, s.kinds[name], kind)
		}
		sample := name
		if kind == "histogram" {
			sample = name + "_count"
		}
		if value, ok := s.samples[sample]; ok != (labels == "") || value != 0 {
			t.Errorf("%s = %v, %v; want a zero without labels, nothing with", name, value, ok)
		}
	}
}

// fill makes each event happen once.
func fill(m *metrics.Metrics) {
	m.Spawned(metrics.Cold, 300*time.Millisecond)
	m.SpawnFailed(metrics.Warm, metrics.FailureImagePull)
	m.Phase("pod_pending", 20*time.Millisecond)
	m.PoolHit()
	m.PoolMiss()
	m.PoolProvisioned(time.Second)
	m.PoolFailed()
	m.CreatingFailed()
	m.IdleKilled()
	m.GhostKilled()
	m.WarmStale()
	m.Reconciled(10 * time.Millisecond)
	m.OOMKilled("agent-1")
	m.Died(metrics.DeathIdle)
	m.AutomationFired()
	m.AutomationFailed()
	m.AutomationRunResolved()
}

func TestEventsAreCounted(t *testing.T) {
	m := metrics.New()
	fill(m)
	s := read(t, m)
	got := map[string]float64{}
	for key, value := range s.samples {
		if !strings.Contains(key, "_bucket") && key != "go_goroutines" {
			got[key] = value
		}
	}
	want := map[string]float64{
		`session_spawn_total{path="cold",result="success"}`: 1,
		`session_spawn_total{path="warm",result="failed"}`:  1,

		`session_spawn_failure_total{path="warm",reason="image_pull"}`: 1,

		`session_spawn_duration_seconds_sum{path="cold"}`:           0.3,
		`session_spawn_duration_seconds_count{path="cold"}`:         1,
		`session_phase_duration_seconds_sum{phase="pod_pending"}`:   0.02,
		`session_phase_duration_seconds_count{phase="pod_pending"}`: 1,

		"warm_pool_hit_total": 1, "warm_pool_miss_total": 1,
		`warm_pool_provision_total{result="success"}`: 1,
		`warm_pool_provision_total{result="failed"}`:  1,

		"warm_pool_provision_duration_seconds_sum": 1, "warm_pool_provision_duration_seconds_count": 1,
		"reconcile_failed_creating_total": 1, "reconcile_idle_killed_total": 1,
		"reconcile_ghost_killed_total": 1, "reconcile_warm_stale_killed_total": 1,
		"reconcile_duration_seconds_sum": 0.01, "reconcile_duration_seconds_count": 1,
		`sandbox_oom_killed_total{agent_id="agent-1"}`: 1, `session_death_total{reason="idle_timeout"}`: 1,
		"automations_fired_total": 1, "automations_failed_total": 1, "automation_runs_resolved_total": 1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestHistogramsHaveTheBucketsOfTheContract(t *testing.T) {
	m := metrics.New()
	fill(m)
	s := read(t, m)
	series := map[string]string{
		"session_spawn_duration_seconds": `,path="cold"`, "session_phase_duration_seconds": `,phase="pod_pending"`,
	}
	for name, spec := range contract {
		_, bounds, _ := strings.Cut(spec, " : ")
		for bound := range strings.FieldsSeq(bounds) {
			if key := name + `_bucket{le="` + bound + `"` + series[name] + "}"; !has(s, key) {
				t.Errorf("%s is missing", key)
			}
		}
	}
}

func has(s scrape, key string) bool {
	_, ok := s.samples[key]
	return ok
}

func TestHistogramBounds(t *testing.T) {
	m := metrics.New()
	for _, d := range []time.Duration{-time.Second, 0, 100 * time.Millisecond, 100*time.Millisecond + 1, 30 * time.Second, time.Minute} {
		m.Reconciled(d)
	}
	s := read(t, m)
	for key, want := range map[string]float64{ // a bound belongs to its bucket
		`_bucket{le="0.1"}`: 3, `_bucket{le="0.5"}`: 4, `_bucket{le="10"}`: 4, `_bucket{le="30"}`: 5, `_bucket{le="+Inf"}`: 6, "_count": 6, "_sum": 90.200000001,
	} {
		if got := s.samples["reconcile_duration_seconds"+key]; got != want {
			t.Errorf("%s = %v, want %v", key, got, want)
		}
	}
}

func TestLabelsAreEscapedAndClosed(t *testing.T) {
	m := metrics.New()
	m.OOMKilled("a\"b\\c\nd")
	m.OOMKilled("\xff")
	m.Phase("made up by a sandbox", time.Second)
	m.SpawnFailed(metrics.Path(9), metrics.Failure(-1))
	m.Died(metrics.Death(99))
	s := read(t, m)
	for _, key := range []string{
		`sandbox_oom_killed_total{agent_id="a\"b\\c\nd"}`, "sandbox_oom_killed_total{agent_id=\"\uFFFD\"}",
		`session_spawn_failure_total{path="cold",reason="unknown"}`, `session_death_total{reason="sandbox_unreachable"}`,
	} {
		if s.samples[key] != 1 {
			t.Errorf("%s = %v, want 1", key, s.samples[key])
		}
	}
	for key := range s.samples {
		if strings.Contains(key, "made up") {
			t.Errorf("%s is counted", key)
		}
	}
}

func TestAllLabelValues(t *testing.T) {
	m := metrics.New()
	for cause := range metrics.FailureDocker + 1 {
		m.SpawnFailed(metrics.Warm, cause)
	}
	for cause := range metrics.DeathCreating + 1 {
		m.Died(cause)
	}
	phases := []string{
		"creating_sandbox", "pod_pending", "pod_running", "injecting_files", "waiting_harness",
		"harness_ready", "cloning_repo", "installing_deps", "harness_listening", "ready",
	}
	for _, phase := range phases {
		m.Phase(phase, 0)
	}
	s := read(t, m)
	var want []string
	for _, reason := range []string{"image_pull", "container_failed", "harness_timeout", "docker_unreachable", "unknown"} {
		want = append(want, fmt.Sprintf(`session_spawn_failure_total{path="warm",reason=%q}`, reason))
	}
	for _, reason := range []string{"oom_killed", "task_disappeared", "idle_timeout", "creating_timeout", "sandbox_unreachable"} {
		want = append(want, fmt.Sprintf(`session_death_total{reason=%q}`, reason))
	}
	for _, phase := range phases {
		want = append(want, fmt.Sprintf(`session_phase_duration_seconds_count{phase=%q}`, phase))
	}
	for _, key := range want {
		if s.samples[key] != 1 {
			t.Errorf("%s = %v, want 1", key, s.samples[key])
		}
	}
}

func TestManyAtOnce(t *testing.T) {
	m := metrics.New()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 100 {
				fill(m)
			}
		})
		all.Go(func() {
			for range 10 {
				read(t, m)
			}
		})
	}
	all.Wait()
	if got := read(t, m).samples["reconcile_ghost_killed_total"]; got != 800 {
		t.Errorf("counted %v, want 800", got)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("full") }

func TestWriteToTellsOfErrors(t *testing.T) {
	if n, err := metrics.New().WriteTo(full{}); n != 0 || err == nil {
		t.Errorf("WriteTo = %d, %v; want an error", n, err)
	}
}
