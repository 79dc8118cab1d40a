package cmd

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"lap/server"
)

func newServe(schema string) *cobra.Command {
	var ephemeral bool
	c := &cobra.Command{
		Use:     "serve",
		Short:   "Run the server in the foreground",
		Long:    "Run the server in the foreground, until it is interrupted. Sandboxes are left\nrunning and found again by the next start.\n\n" + ephemeralHelp + settingsHelp(),
		Example: "  lap serve\n  lap serve --listen 0.0.0.0:3000 --data-dir /var/lib/lap\n  lap serve --ephemeral",
		Args:    noArgs,
	}
	for _, row := range server.Table() {
		help := fmt.Sprintf("%s (%s)", describe(row), row.Env)
		switch {
		case row.Switch:
			c.Flags().Bool(row.Flag, false, help)
		case row.Flag != "":
			c.Flags().String(row.Flag, "", help)
		}
	}
	c.Flags().BoolVar(&ephemeral, "ephemeral", false, "serve on a free port with a new data directory, and leave nothing behind")
	c.RunE = func(c *cobra.Command, _ []string) error {
		given := map[string]string{}
		c.Flags().Visit(func(f *pflag.Flag) { given[f.Name] = f.Value.String() })
		if ephemeral {
			return serveEphemeral(c.Context(), schema, given, c.OutOrStdout(), c.ErrOrStderr())
		}
		return serve(c.Context(), schema, given, c.ErrOrStderr())
	}
	return c
}

func serve(ctx context.Context, schema string, flags map[string]string, talk io.Writer) error {
	settings, warnings, err := server.Load(os.Environ(), flags)
	if err != nil {
		return badConfiguration(err)
	}
	log := newLogger(settings, talk)
	srv, err := open(ctx, settings, warnings, schema, log)
	if err != nil {
		return err
	}
	if settings.LogFormat == "json" {
		log.InfoContext(ctx, "serving", "url", srv.URL(), "data_dir", settings.DataDir, "master_key_file", srv.MasterKeyFile())
	} else {
		welcome(talk, srv)
	}
	return srv.Run(ctx)
}

func badConfiguration(err error) error {
	return usageError{fmt.Errorf("the configuration has errors:\n%w", err)}
}

// open makes the server of settings, after it has warned of what may be wrong with them.
func open(ctx context.Context, settings server.Settings, warnings []string, schema string, log *slog.Logger) (*server.Server, error) {
	for _, w := range warnings {
		log.WarnContext(ctx, w)
	}
	return server.New(ctx, settings, schema, log)
}

// welcome says how to use the server, without showing its key.
func welcome(w io.Writer, srv *server.Server) {
	key := "$MASTER_KEY"
	if file := srv.MasterKeyFile(); file != "" {
		key = "$(cat " + file + ")"
		fmt.Fprintf(w, "The master key is in %s\n", file)
	}
	fmt.Fprintf(w, "lap serves %s\nTry:  curl -H \"Authorization: Bearer %s\" %s/api/v1/managed_agents/agents\n", srv.URL(), key, srv.URL())
}

func newLogger(s server.Settings, w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(s.LogLevel)); err != nil {
		level = slog.LevelInfo // Load has checked it
	}
	opts := &slog.HandlerOptions{Level: level}
	if s.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// settingsHelp lists the settings that are variables only.
func settingsHelp() string {
	var b strings.Builder
	b.WriteString("Variables:\n")
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, row := range server.Table() {
		if row.Flag != "" {
			continue
		}
		fmt.Fprintf(t, "  %s\t%s\n", row.Env, describe(row))
	}
	fmt.Fprintf(t, "  CONTAINER_ENV_<NAME>\tsets NAME in every sandbox\n")
	_ = t.Flush() // into memory
	b.WriteString("\nA secret can also be read from the file that <NAME>_FILE names.")
	return b.String()
}

func describe(row server.Setting) string {
	if row.Default == "" {
		return row.Help
	}
	return row.Help + " (default " + row.Default + ")"
}
