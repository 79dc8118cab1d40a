package cmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"lap/client"
	"lap/server"
)

// demoModel names the variable that chooses a real model for the demo.
const demoModel = "LAP_DEMO_MODEL"

func newDemo(schema string) *cobra.Command {
	return &cobra.Command{
		Use:   "demo",
		Short: "Show the main job on a server that lives for a few seconds",
		Long: "Start a server on a free port with a temporary data directory, create an agent, open\n" +
			"a sandbox session, send a message that runs a command there, print the reply, and\n" +
			"clean up. The model is the built-in scripted one, or the one that " + demoModel + " names\n" +
			"when LITELLM_API_BASE and LITELLM_API_KEY are set.",
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return demo(c.Context(), schema, c.OutOrStdout()) },
	}
}

// demo runs a server in this process for as long as the tour takes.
func demo(ctx context.Context, schema string, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "lap-demo-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	flags := map[string]string{"listen": "127.0.0.1:0", "data-dir": filepath.Join(dir, "data"), "log-level": "error"}
	settings, _, err := server.Load(os.Environ(), flags)
	if err != nil {
		return err
	}
	settings.MasterKey = "" // a key of its own, kept in the temporary directory
	srv, err := server.New(ctx, settings, schema, newLogger(settings, out))
	if err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	// An interrupt ends the tour, which cleans up; only then does the server stop.
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	g.Go(func() error { return srv.Run(serving) })
	g.Go(func() error {
		defer stop()
		return tour{client.New(srv.URL(), srv.MasterKey()), out, time.Now()}.run(gctx, srv.URL(), settings)
	})
	return g.Wait()
}

// A tour walks through the main job and prints every step.
type tour struct {
	*client.Client
	out   io.Writer
	began time.Time
}

func (t tour) say(format string, args ...any) {
	fmt.Fprintf(t.out, "%7.3fs  %s\n", time.Since(t.began).Seconds(), fmt.Sprintf(format, args...))
}

func (t tour) run(ctx context.Context, url string, s server.Settings) (err error) {
	model, text := "scripted/echo", "RUN: echo \"hello from $(hostname), $(. /etc/os-release && echo $PRETTY_NAME)\""
	if name := os.Getenv(demoModel); name != "" && s.GatewayBase != "" && s.GatewayKey != "" {
		model, text = name, "Use your bash tool to find out which Linux distribution you run on, then tell me in one sentence."
	}
	t.say("server ready at %s", url)
	agent, err := t.CreateAgent(ctx, client.NewAgent{Name: "demo", Model: model, HarnessID: "lap", Prompt: "You are a helpful engineer."})
	if err != nil {
		return err
	}
	t.say("agent %s created, model %s", agent.ID, model)
	defer func() {
		err = errors.Join(err, t.DeleteAgent(context.WithoutCancel(ctx), agent.ID))
		t.say("agent, session and sandbox removed")
	}()
	session, err := t.CreateSession(ctx, agent.ID, client.NewSession{Title: "demo"})
	if err != nil {
		return err
	}
	t.say("session %s is being created", session.ID)
	if _, err := t.AwaitReady(ctx, session.ID, t.phases()); err != nil {
		return err
	}
	t.say("you:   %s", text)
	reply, err := t.Send(ctx, session.ID, text)
	if err != nil {
		return err
	}
	if len(reply.Info.Error) > 0 {
		return fmt.Errorf("the model failed: %s", reply.Info.Error)
	}
	return t.conversation(ctx, session.ID)
}

// phases prints each phase of a bring-up once.
func (t tour) phases() func(client.Session) {
	last := ""
	return func(s client.Session) {
		line := s.Status
		if s.Phase != nil && *s.Phase != s.Status {
			line += ": " + *s.Phase
		}
		if s.PhaseDetail != nil {
			line += " (" + *s.PhaseDetail + ")"
		}
		if line != last {
			t.say("%s", line)
			last = line
		}
	}
}

// conversation prints what the agent did and said.
func (t tour) conversation(ctx context.Context, sessionID string) error {
	messages, err := t.Messages(ctx, sessionID)
	if err != nil {
		return err
	}
	for _, m := range messages.Data {
		for _, p := range m.Parts {
			switch {
			case m.Info.Role != "assistant":
			case p.Type == "tool":
				t.say("tool:  %s %s -> %s", p.Tool, p.State.Input, strings.TrimSpace(p.State.Output))
			case p.Type == "text" && strings.TrimSpace(p.Text) != "":
				t.say("agent: %s", strings.TrimSpace(p.Text))
			}
		}
	}
	return nil
}
