// Package suites runs the tests of other people's clients against clusters of
// the built binary: franz-go's kgo, kafka-go's and sarama's functional ones, as
// their modules ship them. It is a module of its own.
//
// For each suite testdata has a list of the tests that pass, which may only
// grow, and a list of those that are left out, each with the reason. A test that
// is in neither is a failure here, and so is one that fails, or skips itself. With -update what passes for the first
// time is added, and COMPATIBILITY.md, which is made of the lists, is written.
//
// kafka-go's and sarama's tests are wired to fixed ports, so they run in a
// network namespace of their own, sarama's behind proxies that cut connections
// and with a stand-in for docker that runs Kafka's tools.
package suites

// The packages whose tests are run.
import (
	_ "github.com/IBM/sarama"
	_ "github.com/segmentio/kafka-go"
	_ "github.com/twmb/franz-go/pkg/kgo"
)
