package docker

import (
	"fmt"
	"os"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	"github.com/docker/cli/cli/connhelper"
	clicontext "github.com/docker/cli/cli/context/docker"
	"github.com/docker/cli/cli/context/store"
	"github.com/docker/docker/client"
)

// endpoint finds the engine as the docker command does: DOCKER_HOST, else the context
// named by DOCKER_CONTEXT or chosen with "docker context use", else the default socket.
func endpoint() ([]client.Opt, error) {
	host := os.Getenv(client.EnvOverrideHost)
	if helper, err := connhelper.GetConnectionHelper(host); err != nil {
		return nil, fmt.Errorf("DOCKER_HOST: %w", err)
	} else if helper != nil { // ssh://
		return []client.Opt{
			client.WithHost(helper.Host), client.WithDialContext(helper.Dialer),
			client.WithVersionFromEnv(), client.WithAPIVersionNegotiation(),
		}, nil
	}
	fromEnv := []client.Opt{client.FromEnv, client.WithAPIVersionNegotiation()}
	if host != "" {
		return fromEnv, nil
	}
	name := os.Getenv("DOCKER_CONTEXT")
	if name == "" {
		name = settings().CurrentContext
	}
	if name == "" || name == "default" {
		return fromEnv, nil
	}
	opts, err := contextOptions(name)
	if err != nil {
		return nil, fmt.Errorf("docker context %q: %w", name, err)
	}
	return opts, nil
}

// settings is the docker command's configuration file; a missing or broken one is
// empty, as for the command itself.
func settings() *configfile.ConfigFile {
	file, err := config.Load(config.Dir())
	if err != nil {
		return configfile.New("")
	}
	return file
}

func contextOptions(name string) ([]client.Opt, error) {
	contexts := store.New(config.ContextStoreDir(), store.NewConfig(
		func() any { return &map[string]any{} },
		store.EndpointTypeGetter(clicontext.DockerEndpoint, func() any { return &clicontext.EndpointMeta{} }),
	))
	meta, err := contexts.GetMetadata(name)
	if err != nil {
		return nil, err
	}
	ep, ok := meta.Endpoints[clicontext.DockerEndpoint].(clicontext.EndpointMeta)
	if !ok {
		return nil, fmt.Errorf("has no docker endpoint")
	}
	withTLS, err := clicontext.WithTLSData(contexts, name, ep)
	if err != nil {
		return nil, err
	}
	return withTLS.ClientOpts()
}
