package broker

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronik-stream/chronik/internal/wire"
)

const wireKeys = wire.MaxKey + 1

// where says which broker can answer a request.
type where int8

const (
	anyBroker   where = iota // every one
	leader                   // the leader of the partition
	coordinator              // the coordinator of the group
	controller               // every one, with the active controller's help
)

// String returns the name that docs/PROTOCOL.md gives it.
func (w where) String() string {
	return [...]string{"any broker", "partition leader", "group coordinator", "controller, forwarded"}[w]
}

// defaultFrame is the longest frame of a request whose row does not say more. kmsg makes
// up to 104 bytes for a byte of a hostile array count, so this bounds one decode at about 100 MiB.
const defaultFrame = 1 << 20

// row is one API: what the dispatch, ApiVersions, the metrics and docs/PROTOCOL.md know of it.
type row struct {
	key      int16
	name     string
	min, max int16
	where    where
	frame    int    // the longest frame; 0 means socket.request.max.bytes
	note     string // what is left out, for docs/PROTOCOL.md

	// Exactly one of these serves the request.
	now   func(*Broker, *call, kmsg.Request) kmsg.Response
	later func(*Broker, *call, kmsg.Request, *reply)
	alone func(*Broker, *call, kmsg.Request) kmsg.Response
	raw   func(*session, *call, []byte) (func(), error)
}

// apis makes the table. It is a function so that ApiVersions, which reads the table, can
// stand in it.
func apis() []row {
	return []row{
		raw(produceKey, 0, 13, leader, (*session).produce).except("transactions; versions 0 to 2 are advertised and refused, as Kafka does"),
		raw(fetchKey, 4, 18, leader, (*session).fetch).except("fetching from followers, transactions").frames(8 << 20),
		alone(1, 11, leader, (*Broker).listOffsets).except("tiered storage: its timestamps find nothing"),
		alone(0, 13, anyBroker, (*Broker).metadata),
		later(2, 10, coordinator, (*Broker).offsetCommit).except("member epochs of the consumer protocol"),
		later(1, 10, coordinator, (*Broker).offsetFetch).except("member epochs of the consumer protocol"),
		alone(0, 6, anyBroker, (*Broker).findCoordinator).except("transactions and share groups: INVALID_REQUEST"),
		later(0, 9, coordinator, (*Broker).joinGroup).except("the consumer protocol"),
		later(0, 4, coordinator, (*Broker).heartbeat),
		later(0, 5, coordinator, (*Broker).leaveGroup),
		later(0, 5, coordinator, (*Broker).syncGroup),
		later(0, 6, coordinator, (*Broker).describeGroups),
		later(0, 5, anyBroker, (*Broker).listGroups),
		later(0, 3, coordinator, (*Broker).deleteGroups),
		later(0, 0, coordinator, (*Broker).offsetDelete),
		now(0, 5, anyBroker, (*Broker).apiVersions),
		alone(2, 7, controller, (*Broker).createTopics).except("a replication factor above 1, quotas"),
		alone(1, 6, controller, (*Broker).deleteTopics).except("quotas"),
		alone(0, 2, leader, (*Broker).deleteRecords),
		alone(0, 5, anyBroker, (*Broker).initProducerID).except("transactional ids are INVALID_REQUEST"),
		now(2, 4, leader, (*Broker).offsetForLeaderEpoch),
		now(1, 5, anyBroker, (*Broker).describeLogDirs).except("moving replicas between directories; no directory is ever cordoned"),
		alone(0, 3, controller, (*Broker).createPartitions).except("quotas"),
		alone(0, 2, controller, (*Broker).describeQuorum),
		alone(1, 4, anyBroker, (*Broker).describeConfigs),
		alone(0, 2, controller, (*Broker).alterConfigs).except("levels of loggers, as in Kafka"),
		alone(0, 1, controller, (*Broker).incrementalAlterConfigs),
		alone(0, 1, anyBroker, (*Broker).listConfigResources),
		now(0, 2, anyBroker, (*Broker).describeCluster),
		now(0, 0, leader, (*Broker).describeProducers),
		now(0, 0, anyBroker, (*Broker).describeTopicPartitions),
	}
}

// request is a pointer to a kmsg request.
type request[T any] interface {
	*T
	kmsg.Request
}

func newRow[T any, P request[T]](minVersion, maxVersion int16, at where) row {
	key := P(new(T)).Key()
	return row{key: key, name: apiName(key), min: minVersion, max: maxVersion, where: at, frame: defaultFrame}
}

// now is the row of a handler that has the response at once. It must not block. A nil
// response closes the connection.
func now[T any, P request[T]](minVersion, maxVersion int16, at where, h func(*Broker, *call, P) kmsg.Response) row {
	r := newRow[T, P](minVersion, maxVersion, at)
	r.now = func(b *Broker, c *call, req kmsg.Request) kmsg.Response { return h(b, c, req.(P)) }
	return r
}

// later is the row of a handler that sends the reply when it has the answer. It must not
// block, and call reply.send exactly once, then or later, from any goroutine.
func later[T any, P request[T]](minVersion, maxVersion int16, at where, h func(*Broker, *call, P, *reply)) row {
	r := newRow[T, P](minVersion, maxVersion, at)
	r.later = func(b *Broker, c *call, req kmsg.Request, re *reply) { h(b, c, req.(P), re) }
	return r
}

// alone is the row of a handler that may block until c.ctx ends.
func alone[T any, P request[T]](minVersion, maxVersion int16, at where, h func(*Broker, *call, P) kmsg.Response) row {
	r := newRow[T, P](minVersion, maxVersion, at)
	r.alone = func(b *Broker, c *call, req kmsg.Request) kmsg.Response { return h(b, c, req.(P)) }
	return r
}

// raw is the row of a handler that decodes the body and encodes the response itself.
func raw(key, minVersion, maxVersion int16, at where, h func(*session, *call, []byte) (func(), error)) row {
	return row{key: key, name: apiName(key), min: minVersion, max: maxVersion, where: at, raw: h}
}

// apiName is Kafka's name of an API.
func apiName(key int16) string {
	api, _ := wire.LookupAPI(key)
	return api.Name
}

// frames sets the longest frame of the row in bytes.
func (r row) frames(n int) row { r.frame = n; return r }

// except says what is left out.
func (r row) except(s string) row { r.note = s; return r }
