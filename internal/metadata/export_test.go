package metadata

import (
	clusterv1 "github.com/chronik-stream/chronik/proto/cluster/v1"
)

// ResultRecord is a record with everything set, as tests need it.
func ResultRecord(node int32, incarnation ID, sequence uint64, code int32) *Record {
	return NewResult(&clusterv1.RequestId{Node: node, Incarnation: incarnation[:], Sequence: sequence}, &clusterv1.Answer{Code: code})
}
