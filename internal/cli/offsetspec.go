package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"github.com/twmb/franz-go/pkg/kadm"
)

// offsetKind says how a place in a log is meant.
type offsetKind int8

const (
	atStart offsetKind = iota
	atEnd
	atOffset // the offset n
	fromEnd  // n records before the end
	atTime   // the first record at or after n milliseconds
)

// offsetSpec is a place in a log as a person names it; it is another offset in every partition.
type offsetSpec struct {
	kind offsetKind
	n    int64
}

// parseWhere reads what --offset, --until and --before take.
func parseWhere(flag, text string, now time.Time) (offsetSpec, error) {
	switch text {
	case "start", "beginning", "earliest":
		return offsetSpec{kind: atStart}, nil
	case "end", "latest":
		return offsetSpec{kind: atEnd}, nil
	}
	if at, ok := strings.CutPrefix(text, "@"); ok {
		ms, err := parseTime(flag, at, now)
		return offsetSpec{atTime, ms}, err
	}
	n, err := strconv.ParseInt(text, 10, 64)
	switch {
	case err != nil:
		return offsetSpec{}, usagef("%s %s: must be start, end, N, -N or @TIME", flag, text)
	case n < 0:
		return offsetSpec{fromEnd, -n}, nil
	default:
		return offsetSpec{atOffset, n}, nil
	}
}

// layouts are the times a person may write; where no zone is given it is UTC, as with Kafka's tools.
var layouts = []string{time.RFC3339, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02"}

// parseTime reads a time as milliseconds, a date, or a span before now.
func parseTime(flag, text string, now time.Time) (int64, error) {
	if ms, err := strconv.ParseInt(text, 10, 64); err == nil && ms >= 0 {
		return ms, nil
	}
	if d, err := time.ParseDuration(text); err == nil && (strings.HasPrefix(text, "-") || d == 0) {
		return max(0, now.Add(d).UnixMilli()), nil
	}
	for _, layout := range layouts {
		if t, err := time.Parse(layout, text); err == nil && t.UnixMilli() >= 0 {
			return t.UnixMilli(), nil
		}
	}
	return 0, usagef("%s: %q is no time: write milliseconds (1764000000000), a date (2026-01-02T15:04:05Z) or a span before now (-1h)", flag, text)
}

// resolve returns the offset in a partition that begins and ends as given; timed is what the partition
// answered for a time.
func (o offsetSpec) resolve(start, end, timed int64) int64 {
	at := start
	switch o.kind {
	case atEnd:
		at = end
	case atOffset:
		at = o.n
	case fromEnd:
		at = end - o.n
	case atTime:
		at = timed
	}
	return min(max(at, start), end)
}

// partitionsVar adds -p, which names some of a topic's partitions.
func partitionsVar(flags *pflag.FlagSet, value *[]int32) {
	flags.Int32SliceVarP(value, "partitions", "p", nil, "only these partitions, as `n,...`")
	flags.Lookup("partitions").DefValue = ""
}

// scope is a topic, or some partitions of it, as --topic names them: orders, or orders:0,2.
type scope struct {
	topic      string
	partitions []int32 // none: all
}

func parseScopes(texts []string) ([]scope, error) {
	var scopes []scope
	for _, text := range texts {
		topic, list, some := strings.Cut(text, ":")
		s := scope{topic: topic}
		for part := range strings.SplitSeq(list, ",") {
			if !some {
				break
			}
			p, err := strconv.ParseInt(part, 10, 32)
			if err != nil || p < 0 {
				return nil, usagef("--topic %s: write a topic, or topic:partition,..., as in orders:0,2", text)
			}
			s.partitions = append(s.partitions, int32(p))
		}
		if topic == "" {
			return nil, usagef("--topic %q: names no topic", text)
		}
		scopes = append(scopes, s)
	}
	return scopes, nil
}

// expand returns the partitions that scopes mean, after a look whether they are there.
func (c *client) expand(ctx context.Context, scopes []scope) (kadm.TopicsSet, error) {
	var names []string
	for _, s := range scopes {
		names = append(names, s.topic)
	}
	topics, err := c.findTopics(ctx, names)
	if err != nil {
		return nil, err
	}
	var set kadm.TopicsSet
	for _, s := range scopes {
		if err := checkPartitions(topics, []string{s.topic}, s.partitions); err != nil {
			return nil, err
		}
		if len(s.partitions) == 0 {
			s.partitions = topics[s.topic].Partitions.Numbers()
		}
		set.Add(s.topic, s.partitions...)
	}
	return set, nil
}

// topicScopeVar adds --topic, which may be given again.
func topicScopeVar(flags *pflag.FlagSet, value *[]string, usage string) {
	flags.StringArrayVarP(value, "topic", "t", nil, usage)
}

// within fails where an offset cannot be: it is for commands that must not move it silently.
func within(topic string, p int32, at, start, end int64) (int64, string) {
	if to := min(max(at, start), end); to != at {
		return to, fmt.Sprintf("%s-%d: %d lies outside of it, %d is the nearest offset it has", topic, p, at, to)
	}
	return at, ""
}

// sortedTopics lists the names of a set in order.
func sortedTopics(set kadm.TopicsSet) []string {
	names := set.Topics()
	slices.Sort(names)
	return names
}
