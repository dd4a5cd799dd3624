package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/chronik-stream/chronik/internal/admin"
	"github.com/chronik-stream/chronik/internal/config"
)

func (g *globals) health() *cobra.Command {
	var format string
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "health [livez|readyz|healthz]",
		Short: "Ask a node's admin port how it is",
		Long: "Asks the admin port of a node: livez, whether its process is alive; readyz (the default), whether the node can serve;\n" +
			"healthz, how the cluster is. The port is that of the node's own configuration: --admin-addr, or --kafka-port + 552.\n" +
			"The exit code is 0 if all is well and 3 if not, so the command is fit for the health check of a container.",
		Example:   "  chronik-server health\n  chronik-server health healthz --kafka-port 9093",
		ValidArgs: []string{"livez", "readyz", "healthz"},
		Args: func(cmd *cobra.Command, args []string) error {
			if err := someArgs(0, 1, "one of livez, readyz, healthz")(cmd, args); err != nil {
				return err
			}
			if len(args) == 1 && !slices.Contains(cmd.ValidArgs, args[0]) {
				return usagef("there is no endpoint %q: give one of livez, readyz, healthz", args[0])
			}
			return nil
		},
	}
	formatVar(cmd.Flags(), &format)
	cmd.Flags().DurationVar(&timeout, "timeout", 5*time.Second, "how long to wait for the answer")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := g.load(cmd, config.ByPeers)
		if err != nil {
			return err
		}
		endpoint := "readyz"
		if len(args) == 1 {
			endpoint = args[0]
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
		defer cancel()
		addr := reachable(cfg.AdminAddr)
		report, err := askHealth(ctx, addr, endpoint)
		if err != nil {
			return notFoundf("no answer from the admin port %s: %w; is the node running? --admin-addr names another port", addr, cause(err))
		}
		if err := healthResult(report).print(g.program.Out, format); err != nil {
			return err
		}
		if !report.OK {
			return &exitError{exitUnhealthy, errReported}
		}
		return nil
	}
	return cmd
}

// reachable turns an address to listen on into one to connect to.
func reachable(listen string) string {
	host, port, err := net.SplitHostPort(listen)
	if ip := net.ParseIP(host); err == nil && (host == "" || host == "*" || ip != nil && ip.IsUnspecified()) {
		return net.JoinHostPort("localhost", port)
	}
	return listen
}

// askHealth fetches the report of one endpoint of an admin port.
func askHealth(ctx context.Context, addr, endpoint string) (*admin.Report, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/"+endpoint+"?format=json", nil)
	if err != nil {
		return nil, err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // no proxy: the node is near
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	var report admin.Report
	if err := json.Unmarshal(body, &report); err != nil || report.Endpoint != endpoint {
		return nil, fmt.Errorf("what answers there is not a node's admin port (HTTP %d)", resp.StatusCode)
	}
	return &report, nil
}

func healthResult(report *admin.Report) result {
	state := map[bool]string{true: "ok", false: "failed"}
	r := result{value: report, table: func(t *table) {
		t.line("%s: %s", report.Endpoint, state[report.OK])
		if len(report.Checks) > 0 {
			t.head("CHECK", "STATE", "REASON")
		}
		for _, c := range report.Checks {
			t.row(c.Name, state[c.OK], orDash(c.Error))
		}
	}}
	for _, c := range report.Checks {
		if !c.OK {
			r.names = append(r.names, c.Name) // what is not well
		}
	}
	return r
}
