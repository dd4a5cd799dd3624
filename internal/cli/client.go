package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronik-stream/chronik/internal/config"
)

const defaultBootstrap = "localhost:9092"

// retryPause is how long after one try the next one comes.
const retryPause = 50 * time.Millisecond

// client is what a command that talks to a cluster needs: its flags, and the connection once it is open.
type client struct {
	g         *globals
	bootstrap string
	format    string
	timeout   time.Duration

	cmd    *cobra.Command
	living []string // addresses that answer
	kgo    *kgo.Client
	adm    *kadm.Client
}

// clientFlags gives a command, and those below it, the flags of a client.
func (g *globals) clientFlags(cmd *cobra.Command) *client {
	c := &client{g: g}
	c.addFlags(cmd)
	return c
}

func (c *client) addFlags(cmd *cobra.Command) {
	flags := cmd.PersistentFlags()
	textVar(flags, &c.bootstrap, "bootstrap-server", "b", "host:port,...", "some nodes of the cluster (CHRONIK_BOOTSTRAP_SERVER; default "+defaultBootstrap+")")
	formatVar(flags, &c.format)
	flags.DurationVar(&c.timeout, "timeout", 10*time.Second, "how long to wait for the cluster")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(formats, cobra.ShellCompDirectiveNoFileComp))
}

// seeds returns the addresses of --bootstrap-server, each with a port.
func (c *client) seeds() ([]string, error) {
	text, from := c.bootstrap, "--bootstrap-server"
	if text == "" {
		text, from = c.g.program.getenv("CHRONIK_BOOTSTRAP_SERVER"), "CHRONIK_BOOTSTRAP_SERVER"
	}
	if text == "" {
		text = defaultBootstrap
	}
	var seeds []string
	for seed := range strings.SplitSeq(text, ",") {
		seed = strings.TrimSpace(seed)
		if seed == "" {
			continue
		}
		if _, _, err := net.SplitHostPort(seed); err != nil {
			if strings.Count(seed, ":") != 0 {
				return nil, usagef("%s %s: %q is not host:port", from, text, seed)
			}
			seed += ":9092"
		}
		seeds = append(seeds, seed)
	}
	if len(seeds) == 0 {
		return nil, usagef("%s %q names no address: write host:port, as in %s", from, text, defaultBootstrap)
	}
	return seeds, nil
}

// run connects and calls do with a context that ends with the command's timeout, or, if there is
// no end to what it does, with the command.
func (c *client) run(cmd *cobra.Command, endless bool, do func(ctx context.Context) error, opts ...kgo.Opt) error {
	if c.timeout <= 0 {
		return usagef("--timeout %v: must be more than 0", c.timeout)
	}
	seeds, err := c.seeds()
	if err != nil {
		return err
	}
	c.cmd = cmd
	ctx := cmd.Context()
	limited, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	living, err := c.reach(limited, seeds)
	if err != nil {
		return err
	}
	if err := c.open(living, opts); err != nil {
		return err
	}
	defer c.kgo.Close()
	if !endless {
		ctx = limited
	}
	return c.explain(do(ctx))
}

// open makes the client; nothing is dialled yet.
func (c *client) open(seeds []string, opts []kgo.Opt) error {
	c.living = seeds
	cl, err := c.newClient(opts)
	if err != nil {
		return err
	}
	c.kgo, c.adm = cl, kadm.NewClient(cl)
	c.adm.SetTimeoutMillis(int32(min(c.timeout.Milliseconds(), 1<<31-1)))
	return nil
}

// newClient makes one more client of the nodes that were reached.
func (c *client) newClient(opts []kgo.Opt) (*kgo.Client, error) {
	all := append([]kgo.Opt{
		kgo.SeedBrokers(c.living...),
		kgo.ClientID("chronik-server"),
		kgo.SoftwareNameAndVersion("chronik-server", softwareVersion(c.g.program.Version)),
		kgo.DialTimeout(min(c.timeout, 5*time.Second)),
		kgo.RetryTimeout(c.timeout),
		kgo.RequestTimeoutOverhead(max(c.timeout, time.Second)),
		kgo.MetadataMinAge(retryPause), // a command is short: it must see what it has just made
	}, opts...)
	if v, ok := c.g.values["log.level"]; ok && strings.EqualFold(*v, "debug") {
		all = append(all, kgo.WithLogger(kgo.BasicLogger(c.g.program.Err, kgo.LogLevelDebug, nil)))
	}
	return kgo.NewClient(all...)
}

// softwareVersion makes a version fit for ApiVersions, which allows few characters.
func softwareVersion(v string) string {
	clean := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r == '.' || r == '-' {
			return r
		}
		return '-'
	}, v)
	if clean = strings.Trim(clean, ".-"); clean == "" {
		return "unknown"
	}
	return clean
}

// reach dials the seeds and returns those that answer: the client library would try a dead one as
// well, and a wrong address is to be told as such and at once.
func (c *client) reach(ctx context.Context, seeds []string) ([]string, error) {
	const grace = 200 * time.Millisecond // for the others, once one has answered
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		seed int
		err  error
	}
	answers := make(chan answer, len(seeds))
	for i, seed := range seeds {
		go func() {
			conn, err := (&net.Dialer{Timeout: min(c.timeout, 5*time.Second)}).DialContext(ctx, "tcp", seed)
			if err == nil {
				conn.Close()
			}
			answers <- answer{i, err}
		}()
	}
	var living []string
	var first error
	enough := make(<-chan time.Time)
	for range seeds {
		select {
		case a := <-answers:
			if a.err == nil {
				living = append(living, seeds[a.seed])
				enough = time.After(grace)
			} else if first == nil {
				first = a.err
			}
			continue
		case <-enough:
		}
		break
	}
	switch {
	case len(living) > 0:
		return living, nil
	case c.cmd.Context().Err() != nil:
		return nil, errors.New("interrupted")
	default:
		return nil, fmt.Errorf("cannot reach Kafka at %s: %w; start a node with 'chronik-server', or name another address with -b", strings.Join(seeds, ","), cause(first))
	}
}

// cause strips what net puts before the reason.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// explain turns an error of the client library into one that says what to do.
func (c *client) explain(err error) error {
	var coded *exitError
	var ke *kerr.Error
	var shards *kadm.ShardErrors
	switch {
	case err == nil || errors.Is(err, errReported) || errors.As(err, &coded):
		return err
	case c.cmd.Context().Err() != nil:
		return errors.New("interrupted")
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer within %v; is the cluster without a leader? 'chronik-server cluster status' tells, --timeout waits longer", c.timeout)
	case errors.As(err, &shards) && len(shards.Errs) > 0:
		return c.explain(shards.Errs[0].Err)
	case errors.As(err, &ke):
		return errors.New(kafkaError(ke, "") + remedies[ke])
	case strings.HasPrefix(err.Error(), "broker is too old") || strings.HasPrefix(err.Error(), "request key is unknown"): // the library keeps these to itself
		return errors.New("the cluster does not serve a request that this needs: 'chronik-server cluster api-versions' lists what it serves")
	default:
		return err
	}
}

// remedies say what to do about errors of the broker that do not tell it themselves.
var remedies = map[*kerr.Error]string{
	kerr.CoordinatorNotAvailable:   "; the group's offsets live on a node that is not there: 'chronik-server cluster status' tells which",
	kerr.CoordinatorLoadInProgress: "; the node that keeps the group's offsets has just started: try again",
	kerr.KafkaStorageError:         "; the disk of the partition's leader fails or is full: its log and 'chronik-server cluster disk' tell more",
	kerr.NotEnoughReplicas:         "; fewer replicas are in sync than the topic's min.insync.replicas: 'chronik-server topic describe' tells which",
	kerr.MessageTooLarge:           "; the topic's max.message.bytes says what is allowed: 'chronik-server config get max.message.bytes --topic' shows it",
	kerr.LeaderNotAvailable:        "; 'chronik-server cluster status' tells which node is missing",
	kerr.NotController:             "; the cluster has no leader at the moment: 'chronik-server cluster status' tells more",
}

// kafkaError words an error of the broker: its own message if it sent one, else the code's.
func kafkaError(err error, message string) string {
	var ke *kerr.Error
	if !errors.As(err, &ke) {
		return err.Error()
	}
	if message == "" {
		message = strings.TrimSuffix(ke.Description, ".")
	}
	return fmt.Sprintf("%s (%s)", message, ke.Message)
}

// print writes a result to standard output.
func (c *client) print(r result) error { return r.print(c.g.program.Out, c.format) }

// noteln writes a line about what is going on to standard error.
func (c *client) noteln(format string, args ...any) {
	fmt.Fprintf(c.g.program.Err, format+"\n", args...)
}

// completeNames completes the names of topics or groups with what the cluster has.
func (c *client) completeNames(list func(ctx context.Context, adm *kadm.Client) ([]string, error)) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, prefix string) ([]cobra.Completion, cobra.ShellCompDirective) {
		c.timeout = time.Second
		var names []string
		_ = c.run(cmd, false, func(ctx context.Context) error { // a shell is no place for errors
			var err error
			names, err = list(ctx, c.adm)
			return err
		})
		return slices.DeleteFunc(names, func(n string) bool {
			return !strings.HasPrefix(n, prefix) || slices.Contains(args, n)
		}), cobra.ShellCompDirectiveNoFileComp
	}
}

func listTopicNames(ctx context.Context, adm *kadm.Client) ([]string, error) {
	topics, err := adm.ListTopics(ctx)
	return topics.Names(), err
}

func listGroupNames(ctx context.Context, adm *kadm.Client) ([]string, error) {
	groups, err := adm.ListGroups(ctx)
	return groups.Groups(), err
}

// suggest ends an error about a name that is not there with the nearest that is.
func suggest(name string, known []string) string {
	if near := config.Nearest(name, known); near != "" {
		return "; did you mean " + near + "?"
	}
	return ""
}
