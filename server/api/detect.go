package api

import (
	"net/http"
	"time"

	"lap/db"
	"lap/sandbox"
	"lap/server/session"
)

// How urgent an issue is.
const (
	severityHigh = "high"
	severityMed  = "med"
	severityInfo = "info"
)

const (
	slowCreating = 120 * time.Second // with a running sandbox
	slowStart    = 180 * time.Second // of a sandbox that runs
)

// A detectedIssue is something about a session that a person should know.
type detectedIssue struct {
	Code     string `json:"code"`
	Severity string `json:"severity"`
	Message  string `json:"message"`
	Advice   string `json:"recommended_action,omitempty"`
}

// detect says what is wrong with a session, judging by what can be seen of it.
func detect(s db.Session, d session.Diagnosis, now time.Time) []detectedIssue {
	var found []detectedIssue
	for _, check := range []struct {
		is    bool
		issue detectedIssue
	}{
		{d.EngineError != "", detectedIssue{
			"docker_unreachable", severityHigh,
			"the Docker engine does not answer", "start Docker, or correct DOCKER_HOST",
		}},
		{lacksContainer(s, d), detectedIssue{
			"container_missing", severityHigh,
			"the session's container cannot be found", "restart the session",
		}},
		{isLive(s) && d.Container != nil && d.Container.State == sandbox.StateExited, detectedIssue{
			"container_exited", severityHigh,
			"the session's container has exited", "look at pod_logs_tail, then restart the session",
		}},
		{d.Container != nil && d.Container.OOMKilled, detectedIssue{
			"oom_killed", severityHigh,
			"the sandbox ran out of memory", "give sandboxes more memory, then restart the session",
		}},
		{d.EngineError == "" && d.ImageRef != "" && d.Image == nil, detectedIssue{
			"image_missing", severityHigh,
			"the image cannot be found on the engine", "pull it, or correct the agent's harness_image",
		}},
		{harnessSilent(d), detectedIssue{
			"harness_unreachable", severityHigh,
			"the sandbox runs, but its harness does not answer", "look at pod_logs_tail, then restart the session",
		}},
	} {
		if check.is {
			found = append(found, check.issue)
		}
	}
	return append(found, detectSlow(s, d, now)...)
}

// detectSlow finds what takes too long, or will.
func detectSlow(s db.Session, d session.Diagnosis, now time.Time) []detectedIssue {
	var found []detectedIssue
	bringup := s.Status == db.StatusCreating && isRunning(d)
	if bringup && !d.Container.StartedAt.IsZero() && now.Sub(d.Container.StartedAt) > slowStart {
		found = append(found, detectedIssue{
			"container_not_ready_old", severityMed,
			"the container has been running for more than 180 s, and the session is not ready", "look at phase_detail and pod_logs_tail",
		})
	}
	if bringup && now.Sub(s.CreatingSince) > slowCreating {
		found = append(found, detectedIssue{
			"stuck_creating", severityHigh,
			"the session has been creating for more than 120 s", "look at phase_detail and pod_logs_tail, or stop the session",
		})
	}
	if d.PoolSize > 0 && d.Warm != nil && d.Warm["warm"] == 0 && d.Warm["provisioning"] == 0 {
		found = append(found, detectedIssue{
			"warm_pool_empty_for_agent", severityInfo,
			"no sandbox waits for the agent's next session, which will start cold", "",
		})
	}
	return found
}

func isLive(s db.Session) bool {
	return s.Status == db.StatusCreating || s.Status == db.StatusReady
}

// isRunning reports whether the session has a container with processes that may run.
func isRunning(d session.Diagnosis) bool { return d.Container != nil && d.Container.Running() }

func lacksContainer(s db.Session, d session.Diagnosis) bool {
	return isLive(s) && s.ContainerID != nil && d.EngineError == "" && d.Container == nil
}

// harnessSilent leaves out a frozen sandbox, which cannot answer.
func harnessSilent(d session.Diagnosis) bool {
	h := d.Harness
	return isRunning(d) && !d.Frozen && h != nil && (h.Status == 0 || h.Status >= http.StatusInternalServerError)
}
