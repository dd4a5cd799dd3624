package clients

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// kcat is librdkafka's own command line, run as a process.
type kcat struct{ bootstrap string }

func newKcat(t *testing.T, bootstrap []string) client {
	if _, err := exec.LookPath("kcat"); err != nil {
		requireOrSkip(t, "kcat")
	}
	return &kcat{strings.Join(bootstrap, ",")}
}

// createTopic lets the broker create the topic: asking for its metadata is kcat's only way.
func (k *kcat) createTopic(ctx context.Context, topic string, _ int) error {
	_, err := k.run(ctx, "", "-L", "-t", topic, "-X", "allow.auto.create.topics=true")
	return err
}

func (k *kcat) produce(ctx context.Context, topic string, recs []record, o produceOptions) error {
	var in bytes.Buffer
	for _, r := range recs {
		fmt.Fprintf(&in, "%s\t%s\n", r.key, r.value)
	}
	_, err := k.run(ctx, in.String(), "-P", "-t", topic, "-K", "\t", "-z", o.codec, "-X", "acks="+strconv.Itoa(o.acks),
		"-X", fmt.Sprintf("enable.idempotence=%v", o.idempotent))
	return err
}

func (k *kcat) run(ctx context.Context, in string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "kcat", append([]string{"-b", k.bootstrap}, args...)...)
	cmd.Stdin = strings.NewReader(in)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("kcat %s: %w: %s", strings.Join(args, " "), err, errs.String())
	}
	if strings.Contains(errs.String(), "Delivery failed") {
		return "", fmt.Errorf("kcat %s: %s", strings.Join(args, " "), errs.String())
	}
	return out.String(), nil
}

type kcatMember struct {
	cmd  *exec.Cmd
	errs bytes.Buffer
	done sync.WaitGroup
}

func (k *kcat) join(ctx context.Context, group, topic string, got func(record)) (member, error) {
	m := &kcatMember{}
	m.cmd = exec.CommandContext(ctx, "kcat", "-b", k.bootstrap, "-u", "-f", "%k\t%s\n", "-X", "auto.offset.reset=earliest",
		"-X", "auto.commit.interval.ms=100", "-X", "session.timeout.ms=10000", "-X", "topic.metadata.refresh.interval.ms=500", "-G", group, topic)
	m.cmd.Stderr = &m.errs
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := m.cmd.Start(); err != nil {
		return nil, err
	}
	m.done.Go(func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if key, value, ok := strings.Cut(lines.Text(), "\t"); ok {
				got(record{key, value})
			}
		}
	})
	return m, nil
}

// leave asks kcat to end; it commits and leaves the group on SIGINT.
func (m *kcatMember) leave() error {
	if err := m.cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	m.done.Wait()
	if err := m.cmd.Wait(); err != nil {
		return fmt.Errorf("%w: %s", err, m.errs.String())
	}
	return nil
}
