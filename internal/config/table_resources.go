package config

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

const (
	noConsumer = "The consumer protocol of KIP-848 is not there yet: it is kept and shown, and changes nothing."
	noShare    = "Share groups are not there yet: it is kept and shown, and changes nothing."
	noStreams  = "Streams groups are not there yet: it is kept and shown, and changes nothing."
	noPush     = "Clients are not asked for their metrics yet: it is kept and shown, and changes nothing."
)

// groupProperties declare what can be set for a group, in name order.
func groupProperties() []Property {
	of := func(kind, rest, limitless string, limit Limit, noEffect, doc string) Property {
		return Property{
			Name: kind + "." + rest, Type: Int, Default: limitless, Limit: limit, Change: PerGroup, NoEffect: noEffect, Doc: doc,
			Synonyms: []string{"group." + kind + "." + rest},
		}
	}
	const (
		assignment = "How much time at least lies between two computations of the group's assignment."
		heartbeat  = "How often a member sends a heartbeat."
		session    = "After what silence a member is taken out of the group."
	)
	return []Property{
		of("consumer", "assignment.interval.ms", "1000", atLeast(0), noConsumer, assignment),
		of("consumer", "heartbeat.interval.ms", "5000", atLeast(1), noConsumer, heartbeat),
		of("consumer", "session.timeout.ms", "45000", atLeast(1), noConsumer, session),
		of("share", "assignment.interval.ms", "1000", atLeast(0), noShare, assignment),
		{
			Name: "share.auto.offset.reset", Type: String, Default: "latest", Change: PerGroup, NoEffect: noShare,
			Limit: checked("latest, earliest or by_duration:PnDTnHnMn.nS", checkOffsetReset),
			Doc:   "Where a share group begins in a partition that it has not read before.",
		},
		of("share", "delivery.count.limit", "5", atLeast(2), noShare, "How often a record is delivered before it is given up."),
		of("share", "heartbeat.interval.ms", "5000", atLeast(1), noShare, heartbeat),
		{
			Name: "share.isolation.level", Type: String, Default: "read_uncommitted", Change: PerGroup, NoEffect: noShare,
			Limit: oneOf("read_committed", "read_uncommitted"),
			Doc:   "Whether a share group gets records of transactions that are open or were aborted.",
		},
		of("share", "partition.max.record.locks", "2000", atLeast(100), noShare, "How many records of a partition may be delivered and not yet acknowledged."),
		of("share", "record.lock.duration.ms", "30000", atLeast(1000), noShare, "How long a delivered record is kept from the other members."),
		{
			Name: "share.renew.acknowledge.enable", Type: Boolean, Default: "true", Change: PerGroup, NoEffect: noShare,
			Doc: "Whether a member may prolong the time that it has for a record.",
		},
		of("share", "session.timeout.ms", "45000", atLeast(1), noShare, session),
		of("streams", "assignment.interval.ms", "1000", atLeast(0), noStreams, assignment),
		of("streams", "heartbeat.interval.ms", "5000", atLeast(1), noStreams, heartbeat),
		of("streams", "initial.rebalance.delay.ms", "3000", atLeast(0), noStreams, "How long a new group waits for more members before its first assignment."),
		of("streams", "num.standby.replicas", "0", atLeast(0), noStreams, "How many standby copies each stateful task has."),
		of("streams", "session.timeout.ms", "45000", atLeast(1), noStreams, session),
	}
}

// duration8601 matches what java.time.Duration reads, as far as it is a length of time.
var duration8601 = regexp.MustCompile(`^P(\d+D)?(T(\d+H)?(\d+M)?(\d+(\.\d{1,9})?S)?)?$`)

func checkOffsetReset(s string) error {
	length, byDuration := strings.CutPrefix(s, "by_duration:")
	switch {
	case s == "latest" || s == "earliest":
		return nil
	case byDuration && duration8601.MatchString(length) && strings.ContainsAny(length, "DHMS") && !strings.HasSuffix(length, "T"):
		return nil
	}
	return fmt.Errorf("must be latest, earliest or by_duration: and a length of time like PT30M")
}

// metricsProperties declare what can be set for a subscription of client metrics, in name order.
func metricsProperties() []Property {
	return []Property{
		{
			Name: "interval.ms", Type: Int, Default: "300000", Limit: between(100, 3_600_000), Change: PerSubscription, NoEffect: noPush,
			Doc: "How often clients push the metrics of the subscription.",
		},
		{
			Name: "match", Type: List, Unset: true, Limit: checked("name=regular expression,...", checkMatch), Change: PerSubscription, NoEffect: noPush,
			Doc: "Which clients the subscription is for; all of the expressions must match. Empty: every client.",
		},
		{
			Name: "metrics", Type: List, Unset: true, Change: PerSubscription, NoEffect: noPush,
			Doc: "The prefixes of the names of the metrics that are asked for; * for all.",
		},
	}
}

// matchers are what a client can be told by.
var matchers = []string{"client_id", "client_instance_id", "client_software_name", "client_software_version", "client_source_address", "client_source_port"}

func checkMatch(s string) error {
	name, pattern, ok := strings.Cut(s, "=")
	if name = strings.TrimSpace(name); !ok || !slices.Contains(matchers, name) {
		return fmt.Errorf("must be a list of name=regular expression with a name of %s, not %q", strings.Join(matchers, ", "), s)
	}
	if _, err := regexp.Compile(strings.TrimSpace(pattern)); err != nil {
		return fmt.Errorf("has no regular expression for %s: %w", name, err)
	}
	return nil
}
