package main

import (
	"context"
	"net/http"
	"strings"
	"time"
)

// An operation is what is going on when a fault strikes.
type operation struct {
	name  string
	env   []string                                  // settings of the server
	setup func(ctx context.Context, s *stage) error // before the fault is ordered
	act   func(ctx context.Context, s *stage)       // what passes the points
	retry func(ctx context.Context, s *stage)       // what clients do after the fault; nil: nothing
}

func operations() []operation {
	return []operation{
		{name: "create", setup: empty, act: create, retry: createAgain},
		{name: "message", setup: oneReady, act: message},
		{name: "message_stream", setup: oneReady, act: messageStream},
		{name: "two_messages", setup: oneReady, act: twoMessages, retry: twoAgain},
		{name: "restart", setup: oneReady, act: restart},
		{name: "delete", setup: oneReady, act: remove, retry: removeAgain},
		{name: "killed", setup: oneKilled, act: keyedMessage, retry: twoAgain},
		{name: "removed", setup: oneRemoved, act: keyedMessage, retry: twoAgain},
		{name: "killed_busy", setup: oneQueued, act: kill},
		{name: "restart_busy", setup: oneQueued, act: restart},
		{name: "delete_busy", setup: oneQueued, act: remove, retry: removeAgain},
		{name: "delete_creating", setup: empty, act: createAndRemove, retry: allRemoved},
		{name: "abort", setup: oneBusy, act: abort},
		{name: "freeze", env: []string{"LAP_FREEZE_AFTER=400ms"}, setup: oneReady, act: freeze},
		{name: "idle", env: []string{"LAP_IDLE_TIMEOUT=1s"}, setup: oneReady, act: idle},
		{name: "claim", env: []string{"WARM_POOL_SIZE=1"}, setup: oneWarm, act: create, retry: createAgain},
		{name: "delete_agent", setup: twoReady, act: deleteAgent, retry: deleteAgentAgain},
		{name: "recover", setup: oneInterrupted, act: recovery},
	}
}

func empty(context.Context, *stage) error { return nil }

func oneReady(ctx context.Context, s *stage) error {
	_, err := s.ready(ctx)
	return err
}

func twoReady(ctx context.Context, s *stage) error {
	if err := oneReady(ctx, s); err != nil {
		return err
	}
	return oneReady(ctx, s)
}

// container is the engine's id of a session's sandbox.
func (s *stage) container(ctx context.Context, p *party) (string, error) {
	var now struct {
		TaskARN string `json:"task_arn"`
	}
	err := s.lap.call(ctx, http.MethodGet, sessionPath(p.id), "", nil).into(&now)
	return now.TaskARN, err
}

// oneKilled leaves a sandbox that does not run, with its files. The server does not look
// for it before the message comes: it is told at once by the end of the pipe.
func oneKilled(ctx context.Context, s *stage) error {
	p, err := s.ready(ctx)
	if err != nil {
		return err
	}
	id, err := s.container(ctx, p)
	if err != nil {
		return err
	}
	return s.lap.world.engine.kill(ctx, s.lap, id)
}

// oneRemoved leaves a session without a sandbox.
func oneRemoved(ctx context.Context, s *stage) error {
	p, err := s.ready(ctx)
	if err != nil {
		return err
	}
	id, err := s.container(ctx, p)
	if err != nil {
		return err
	}
	return s.lap.world.engine.remove(ctx, s.lap, id)
}

// oneBusy leaves a session that carries out a message which takes a while.
func oneBusy(ctx context.Context, s *stage) error {
	p, err := s.ready(ctx)
	if err != nil {
		return err
	}
	s.background(ctx, p, "sleep 5; ")
	return s.awaitTool(ctx, p)
}

// oneQueued is oneBusy with another message that waits for the end of the first.
func oneQueued(ctx context.Context, s *stage) error {
	if err := oneBusy(ctx, s); err != nil {
		return err
	}
	s.background(ctx, s.parties[0], "")
	m := s.said[len(s.said)-1]
	await(ctx, settleLimit, func() bool {
		snap, err := s.lap.snapshot(ctx)
		return err == nil && len(snap.turnsOf(m)) > 0
	})
	return nil
}

// background sends a message without waiting for its answer.
func (s *stage) background(ctx context.Context, p *party, before string) {
	m := s.marked(p, "", before)
	s.behind.Go(func() { m.first = s.send(ctx, m) })
}

// awaitTool waits until the sandbox runs a command.
func (s *stage) awaitTool(ctx context.Context, p *party) error {
	from := p.reader.last()
	ran := await(ctx, settleLimit, func() bool {
		events, _ := p.reader.seen()
		for _, e := range events[from:] {
			if strings.Contains(e.body, `"status":"running"`) {
				return true
			}
		}
		return false
	})
	if !ran {
		return errNoTool
	}
	return nil
}

// oneWarm leaves a session, and a sandbox that waits for the next.
func oneWarm(ctx context.Context, s *stage) error {
	if _, err := s.ready(ctx); err != nil {
		return err
	}
	warm := await(ctx, settleLimit, func() bool {
		snap, err := s.lap.snapshot(ctx)
		if err != nil {
			return false
		}
		for _, r := range snap.sandboxes {
			if r.state == "warm" {
				return true
			}
		}
		return false
	})
	if !warm {
		return errNotWarm
	}
	return nil
}

// oneInterrupted leaves a killed server with a session that works, and one that comes up.
func oneInterrupted(ctx context.Context, s *stage) error {
	if err := oneBusy(ctx, s); err != nil {
		return err
	}
	create(ctx, s)
	s.lap.kill()
	return nil
}

// recovery starts the server again, which is when the points are passed.
func recovery(ctx context.Context, s *stage) {
	if err := s.lap.start(ctx); err != nil {
		return // a fault ended it, or made it refuse; it is started again
	}
	await(ctx, settleLimit, func() bool { return s.lap.dead() || len(s.unsettled(ctx)) == 0 })
}

const createKey = "create"

// create asks for a session with a first message, and waits until that is answered.
func create(ctx context.Context, s *stage) {
	m := s.marked(nil, "", "")
	p, got := s.create(ctx, createKey, map[string]string{"initial_prompt": m.text})
	s.first, m.party = got, p
	if p == nil {
		return
	}
	if s.awaitStatus(ctx, p, settleLimit, "ready", "failed", "dead") == "ready" {
		await(ctx, settleLimit, func() bool { return s.lap.dead() || s.answered(ctx, m) })
	}
}

// answered reports whether a message has come to its end.
func (s *stage) answered(ctx context.Context, m *said) bool {
	snap, err := s.lap.snapshot(ctx)
	if err != nil {
		return false
	}
	t := snap.turnsOf(m)
	return len(t) > 0 && t[0].status != "queued" && t[0].status != "running"
}

// createAgain asks for the same session once more.
func createAgain(ctx context.Context, s *stage) {
	m := s.said[len(s.said)-1]
	p, got := s.create(ctx, createKey, map[string]string{"initial_prompt": m.text})
	s.again = got
	switch {
	case p == nil:
		s.fault("the session cannot be created again: %s %s", got, got.body)
	case m.party != nil && m.party != p:
		s.fault("the same request created two sessions")
	}
	m.party = p
}

func message(ctx context.Context, s *stage) { s.first = s.say(ctx, s.parties[0], "").first }

func messageStream(ctx context.Context, s *stage) { s.first = s.stream(ctx, s.parties[0]) }

func keyedMessage(ctx context.Context, s *stage) { s.first = s.say(ctx, s.parties[0], "one").first }

func twoMessages(ctx context.Context, s *stage) {
	one, two := s.marked(s.parties[0], "one", ""), s.marked(s.parties[0], "two", "")
	s.behind.Go(func() { one.first = s.send(ctx, one) })
	two.first = s.send(ctx, two)
	s.behind.Wait()
	s.first = two.first
	if one.first.ok() {
		s.first = one.first
	}
}

// twoAgain sends every message with a key once more.
func twoAgain(ctx context.Context, s *stage) {
	for _, m := range s.said {
		if m.key != "" {
			m.again = s.send(ctx, m)
			s.again = m.again
		}
	}
}

func restart(ctx context.Context, s *stage) {
	s.first = s.lap.call(ctx, http.MethodPost, sessionPath(s.parties[0].id)+"/restart", "", nil)
}

func remove(ctx context.Context, s *stage) { s.first = s.end(ctx, s.parties[0]) }

// removeAgain ends the session for good. Before, all must have come to rest by itself.
func removeAgain(ctx context.Context, s *stage) {
	s.settle(ctx)
	s.again = s.end(ctx, s.parties[0])
}

// kill ends the sandbox and waits until the clients are answered.
func kill(ctx context.Context, s *stage) {
	s.first = answer{err: errUnasked}
	boxes, err := s.lap.world.engine.boxes(ctx, s.lap)
	if err != nil || len(boxes) != 1 {
		s.fault("%d sandboxes of one session, %v", len(boxes), err)
		return
	}
	if err := s.lap.world.engine.kill(ctx, s.lap, boxes[0].id); err != nil {
		s.fault("%v", err)
	}
	m := s.said[len(s.said)-1]
	await(ctx, settleLimit, func() bool { return s.lap.dead() || s.answered(ctx, m) })
}

// createAndRemove ends a session that is about to come up.
func createAndRemove(ctx context.Context, s *stage) {
	p, got := s.create(ctx, createKey, nil)
	if s.first = got; p != nil {
		s.first = s.end(ctx, p)
	}
}

// allRemoved ends the session for good, if there is one.
func allRemoved(ctx context.Context, s *stage) {
	s.settle(ctx)
	p, got := s.create(ctx, createKey, nil)
	if s.again = got; p != nil {
		s.again = s.end(ctx, p)
	}
}

func abort(ctx context.Context, s *stage) {
	m := s.said[len(s.said)-1]
	m.stopped = true
	s.first = s.lap.call(ctx, http.MethodPost, sessionPath(m.party.id)+"/abort", "", nil)
	m.aborted = s.first.ok()
}

// freeze waits until the sandbox is paused, then sends a message.
func freeze(ctx context.Context, s *stage) {
	await(ctx, 5*time.Second, func() bool {
		boxes, err := s.lap.world.engine.boxes(ctx, s.lap)
		return s.lap.dead() || s.lap.struck() || err == nil && len(boxes) == 1 && boxes[0].state == "paused"
	})
	message(ctx, s)
}

// idle waits until the session has ended.
func idle(ctx context.Context, s *stage) {
	s.first = answer{err: errUnasked}
	s.awaitStatus(ctx, s.parties[0], 5*time.Second, "dead")
}

func deleteAgent(ctx context.Context, s *stage) {
	for _, p := range s.parties {
		p.stopped = true
	}
	s.first = s.lap.call(ctx, http.MethodDelete, agentPath(s.agent), "", nil)
	for _, p := range s.parties {
		p.ended = p.ended || s.first.ok()
	}
}

// deleteAgentAgain deletes the agent for good. That it is gone already is as good.
func deleteAgentAgain(ctx context.Context, s *stage) {
	s.settle(ctx)
	s.again = s.lap.call(ctx, http.MethodDelete, agentPath(s.agent), "", nil)
	if !s.again.ok() && s.again.status != http.StatusNotFound {
		s.fault("the agent cannot be deleted: %s", s.again)
	}
	for _, p := range s.parties {
		p.ended = true
	}
}
