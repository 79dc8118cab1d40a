package metrics

// A Path is how a session gets its sandbox.
type Path int

// The paths; the zero one is the common one.
const (
	Cold Path = iota
	Warm
)

func (p Path) label() string { return name(p, "cold", "warm") }

// A Failure is why a bring-up failed.
type Failure int

// The causes of failure. Unknown is the zero one, so that a cause that is forgotten is
// not told as another.
const (
	FailureUnknown Failure = iota
	FailureImagePull
	FailureContainer
	FailureHarnessTimeout
	FailureDocker
)

func (f Failure) label() string {
	return name(f, "unknown", "image_pull", "container_failed", "harness_timeout", "docker_unreachable")
}

// A Death is why a session that was ready is dead.
type Death int

// The causes of death.
const (
	DeathUnreachable Death = iota
	DeathOOM
	DeathDisappeared
	DeathIdle
	DeathCreating
)

func (d Death) label() string {
	return name(d, "sandbox_unreachable", "oom_killed", "task_disappeared", "idle_timeout", "creating_timeout")
}

// name is the one of names that a value stands for; a value that is none of them stands
// for the first.
func name[T ~int](value T, names ...string) string {
	if value < 0 || int(value) >= len(names) {
		value = 0
	}
	return names[value]
}

// phases are those of a bring-up.
var phases = map[string]bool{
	"creating_sandbox": true, "pod_pending": true, "pod_running": true, "injecting_files": true,
	"waiting_harness": true, "harness_ready": true, "cloning_repo": true, "installing_deps": true,
	"harness_listening": true, "ready": true,
}

// The upper bounds of buckets, in seconds. Those of the reference begin at 0.5 and 1 s;
// lap is done with most before that, so it has finer ones in front of them.
var (
	spawnBuckets     = []float64{0.05, 0.1, 0.25, 0.5, 1, 5, 10, 30, 60, 120, 300, 600}
	phaseBuckets     = []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 10, 30, 60, 120, 300}
	reconcileBuckets = []float64{0.1, 0.5, 1, 2, 5, 10, 30}
)
