package wire

// API is what Kafka 4.4's broker says of one request key. FlexibleFrom is the
// first version with compact lengths and tagged fields, -1 if there is none.
type API struct {
	Key          int16
	Name         string
	Min, Max     int16
	FlexibleFrom int16
}

// MaxKey is the highest request key of Kafka 4.4.
const MaxKey = 94

// apis is indexed by key; a row without a name is a key that Kafka 4.4's broker does not serve.
var apis = [MaxKey + 1]API{
	0:  {0, "Produce", 0, 13, 9},
	1:  {1, "Fetch", 4, 18, 12},
	2:  {2, "ListOffsets", 1, 11, 6},
	3:  {3, "Metadata", 0, 13, 9},
	8:  {8, "OffsetCommit", 2, 10, 8},
	9:  {9, "OffsetFetch", 1, 10, 6},
	10: {10, "FindCoordinator", 0, 6, 3},
	11: {11, "JoinGroup", 0, 9, 6},
	12: {12, "Heartbeat", 0, 4, 4},
	13: {13, "LeaveGroup", 0, 5, 4},
	14: {14, "SyncGroup", 0, 5, 4},
	15: {15, "DescribeGroups", 0, 6, 5},
	16: {16, "ListGroups", 0, 5, 3},
	17: {17, "SaslHandshake", 0, 1, -1},
	18: {18, "ApiVersions", 0, 5, 3},
	19: {19, "CreateTopics", 2, 7, 5},
	20: {20, "DeleteTopics", 1, 6, 4},
	21: {21, "DeleteRecords", 0, 2, 2},
	22: {22, "InitProducerId", 0, 5, 2},
	23: {23, "OffsetForLeaderEpoch", 2, 4, 4},
	24: {24, "AddPartitionsToTxn", 0, 5, 3},
	25: {25, "AddOffsetsToTxn", 0, 4, 3},
	26: {26, "EndTxn", 0, 5, 3},
	27: {27, "WriteTxnMarkers", 1, 2, 1},
	28: {28, "TxnOffsetCommit", 0, 6, 3},
	29: {29, "DescribeAcls", 1, 3, 2},
	30: {30, "CreateAcls", 1, 3, 2},
	31: {31, "DeleteAcls", 1, 3, 2},
	32: {32, "DescribeConfigs", 1, 4, 4},
	33: {33, "AlterConfigs", 0, 2, 2},
	34: {34, "AlterReplicaLogDirs", 1, 2, 2},
	35: {35, "DescribeLogDirs", 1, 5, 2},
	36: {36, "SaslAuthenticate", 0, 2, 2},
	37: {37, "CreatePartitions", 0, 3, 2},
	38: {38, "CreateDelegationToken", 1, 3, 2},
	39: {39, "RenewDelegationToken", 1, 2, 2},
	40: {40, "ExpireDelegationToken", 1, 2, 2},
	41: {41, "DescribeDelegationToken", 1, 3, 2},
	42: {42, "DeleteGroups", 0, 3, 2},
	43: {43, "ElectLeaders", 0, 2, 2},
	44: {44, "IncrementalAlterConfigs", 0, 1, 1},
	45: {45, "AlterPartitionReassignments", 0, 1, 0},
	46: {46, "ListPartitionReassignments", 0, 0, 0},
	47: {47, "OffsetDelete", 0, 0, -1},
	48: {48, "DescribeClientQuotas", 0, 1, 1},
	49: {49, "AlterClientQuotas", 0, 1, 1},
	50: {50, "DescribeUserScramCredentials", 0, 0, 0},
	51: {51, "AlterUserScramCredentials", 0, 0, 0},
	55: {55, "DescribeQuorum", 0, 2, 0},
	57: {57, "UpdateFeatures", 0, 2, 0},
	60: {60, "DescribeCluster", 0, 2, 0},
	61: {61, "DescribeProducers", 0, 0, 0},
	64: {64, "UnregisterBroker", 0, 0, 0},
	65: {65, "DescribeTransactions", 0, 0, 0},
	66: {66, "ListTransactions", 0, 2, 0},
	68: {68, "ConsumerGroupHeartbeat", 0, 1, 0},
	69: {69, "ConsumerGroupDescribe", 0, 1, 0},
	71: {71, "GetTelemetrySubscriptions", 0, 0, 0},
	72: {72, "PushTelemetry", 0, 0, 0},
	74: {74, "ListConfigResources", 0, 1, 0},
	75: {75, "DescribeTopicPartitions", 0, 0, 0},
	76: {76, "ShareGroupHeartbeat", 1, 1, 0},
	77: {77, "ShareGroupDescribe", 1, 1, 0},
	78: {78, "ShareFetch", 1, 2, 0},
	79: {79, "ShareAcknowledge", 1, 2, 0},
	80: {80, "AddRaftVoter", 0, 1, 0},
	81: {81, "RemoveRaftVoter", 0, 0, 0},
	83: {83, "InitializeShareGroupState", 0, 0, 0},
	84: {84, "ReadShareGroupState", 0, 0, 0},
	85: {85, "WriteShareGroupState", 0, 1, 0},
	86: {86, "DeleteShareGroupState", 0, 0, 0},
	87: {87, "ReadShareGroupStateSummary", 0, 1, 0},
	88: {88, "StreamsGroupHeartbeat", 0, 1, 0},
	89: {89, "StreamsGroupDescribe", 0, 1, 0},
	90: {90, "DescribeShareGroupOffsets", 0, 1, 0},
	91: {91, "AlterShareGroupOffsets", 0, 0, 0},
	92: {92, "DeleteShareGroupOffsets", 0, 0, 0},
	93: {93, "StreamsGroupTopologyDescriptionUpdate", 0, 0, 0},
	94: {94, "UnregisterController", 0, 0, 0},
}

// LookupAPI returns the row of key, false if Kafka 4.4's broker serves no such key.
func LookupAPI(key int16) (API, bool) {
	if key < 0 || key > MaxKey || apis[key].Name == "" {
		return API{}, false
	}
	return apis[key], true
}

// Flexible reports whether requests and responses of this key and version have
// compact lengths and tagged fields.
func Flexible(key, version int16) bool {
	if key < 0 || key > MaxKey {
		return false
	}
	from := apis[key].FlexibleFrom
	return apis[key].Name != "" && from >= 0 && version >= from
}
