// Package metrics counts what lap does, and writes it in the text format of Prometheus.
//
// It is written by hand because every metric prints its TYPE line before the first sample
// exists, which the usual client library does not do.
package metrics

import (
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"time"
)

// ContentType is the media type of what WriteTo writes.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// Metrics are all of lap's metrics. Each method says that one thing happened, and sees to
// every metric that counts it. They may be called at once.
type Metrics struct {
	mu  sync.Mutex // guards all series
	all []*family

	spawns, spawnFailures, spawnSeconds                         *family
	phaseSeconds                                                *family
	poolHits, poolMisses, poolProvisions, poolSeconds           *family
	failedCreating, idleKilled, ghostKilled, warmStaleKilled    *family
	reconcileSeconds                                            *family
	oomKilled, deaths                                           *family
	automationsFired, automationsFailed, automationRunsResolved *family
}

// New makes metrics that all stand at zero.
func New() *Metrics {
	m := &Metrics{}
	m.spawns = m.counter("session_spawn_total", "Bring-ups of sessions that ended.", "path", "result")
	m.spawnFailures = m.counter("session_spawn_failure_total", "Bring-ups of sessions that failed, by cause.", "path", "reason")
	m.spawnSeconds = m.histogram("session_spawn_duration_seconds", "Time from creating to ready.", spawnBuckets, "path")
	m.phaseSeconds = m.histogram("session_phase_duration_seconds", "Time that a bring-up spent in each phase.", phaseBuckets, "phase")
	m.poolHits = m.counter("warm_pool_hit_total", "Sessions that found a warm sandbox.")
	m.poolMisses = m.counter("warm_pool_miss_total", "Sessions that asked the warm pool and found it empty.")
	m.poolProvisions = m.counter("warm_pool_provision_total", "Warm sandboxes that were made, or not.", "result")
	m.poolSeconds = m.histogram("warm_pool_provision_duration_seconds", "Time to make a warm sandbox.", phaseBuckets)
	m.failedCreating = m.counter("reconcile_failed_creating_total", "Sessions whose bring-up took too long.")
	m.idleKilled = m.counter("reconcile_idle_killed_total", "Sessions that were ended because they were idle.")
	m.ghostKilled = m.counter("reconcile_ghost_killed_total", "Sessions that were found without their container.")
	m.warmStaleKilled = m.counter("reconcile_warm_stale_killed_total", "Warm sandboxes that were removed because they were out of date.")
	m.reconcileSeconds = m.histogram("reconcile_duration_seconds", "Time of one pass of the reconciler.", reconcileBuckets)
	m.oomKilled = m.counter("sandbox_oom_killed_total", "Sandboxes that the kernel killed for want of memory.", "agent_id")
	m.deaths = m.counter("session_death_total", "Sessions that died, by cause.", "reason")
	m.automationsFired = m.counter("automations_fired_total", "Automations that started a session.")
	m.automationsFailed = m.counter("automations_failed_total", "Automations that could not start a session.")
	m.automationRunsResolved = m.counter("automation_runs_resolved_total", "Runs of automations that got a result.")
	return m
}

// Spawned says that a bring-up reached ready in d.
func (m *Metrics) Spawned(path Path, d time.Duration) {
	m.add(m.spawns, path.label(), "success")
	m.observe(m.spawnSeconds, d, path.label())
}

// SpawnFailed says that a bring-up failed. Its time is not observed: it would tell more
// about time limits than about speed.
func (m *Metrics) SpawnFailed(path Path, cause Failure) {
	m.add(m.spawns, path.label(), "failed")
	m.add(m.spawnFailures, path.label(), cause.label())
}

// Phase says that a bring-up has spent d in a phase of contract 5.2. Phases come out of
// sandboxes too, so one that is not defined is ignored.
func (m *Metrics) Phase(name string, d time.Duration) {
	if phases[name] {
		m.observe(m.phaseSeconds, d, name)
	}
}

// PoolHit says that a session was given a warm sandbox.
func (m *Metrics) PoolHit() { m.add(m.poolHits) }

// PoolMiss says that a session asked the warm pool in vain.
func (m *Metrics) PoolMiss() { m.add(m.poolMisses) }

// PoolProvisioned says that a warm sandbox was made in d.
func (m *Metrics) PoolProvisioned(d time.Duration) {
	m.add(m.poolProvisions, "success")
	m.observe(m.poolSeconds, d)
}

// PoolFailed says that a warm sandbox could not be made.
func (m *Metrics) PoolFailed() { m.add(m.poolProvisions, "failed") }

// CreatingFailed says that the reconciler failed a session that was creating for too long.
func (m *Metrics) CreatingFailed() { m.add(m.failedCreating) }

// IdleKilled says that the reconciler ended a session that was idle for too long.
func (m *Metrics) IdleKilled() { m.add(m.idleKilled) }

// GhostKilled says that the reconciler found a session whose sandbox does not run.
func (m *Metrics) GhostKilled() { m.add(m.ghostKilled) }

// WarmStale says that a sandbox was removed from the warm pool as stale.
func (m *Metrics) WarmStale() { m.add(m.warmStaleKilled) }

// Reconciled says that a pass of the reconciler took d.
func (m *Metrics) Reconciled(d time.Duration) { m.observe(m.reconcileSeconds, d) }

// OOMKilled says that a sandbox of an agent ran out of memory.
func (m *Metrics) OOMKilled(agentID string) { m.add(m.oomKilled, agentID) }

// Died says that a session that was ready is dead, other than by its user.
func (m *Metrics) Died(cause Death) { m.add(m.deaths, cause.label()) }

// AutomationFired says that an automation started a session.
func (m *Metrics) AutomationFired() { m.add(m.automationsFired) }

// AutomationFailed says that an automation could not start one.
func (m *Metrics) AutomationFailed() { m.add(m.automationsFailed) }

// AutomationRunResolved says that a run of an automation got a result.
func (m *Metrics) AutomationRunResolved() { m.add(m.automationRunsResolved) }

// WriteTo writes all metrics as they stand at one moment.
func (m *Metrics) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	m.mu.Lock()
	for _, f := range m.all {
		f.write(&b)
	}
	m.mu.Unlock()
	fmt.Fprintf(&b, "# HELP go_goroutines Goroutines that exist.\n# TYPE go_goroutines gauge\ngo_goroutines %d\n", runtime.NumGoroutine())
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}
