package broker

// Kafka's numbers of what can be authorized: a field AuthorizedOperations has the bit of each that the client may do.
const (
	aclRead = 3 + iota
	aclWrite
	aclCreate
	aclDelete
	aclAlter
	aclDescribe
	aclClusterAction
	aclDescribeConfigs
	aclAlterConfigs
	aclIdempotentWrite
)

// Without an authorizer everybody may do all that a resource has.
const (
	topicOperations int32 = 1<<aclRead | 1<<aclWrite | 1<<aclCreate | 1<<aclDelete | 1<<aclAlter | 1<<aclDescribe |
		1<<aclDescribeConfigs | 1<<aclAlterConfigs
	groupOperations   int32 = 1<<aclRead | 1<<aclDescribe | 1<<aclDelete | 1<<aclDescribeConfigs | 1<<aclAlterConfigs
	clusterOperations int32 = 1<<aclCreate | 1<<aclAlter | 1<<aclDescribe | 1<<aclClusterAction |
		1<<aclDescribeConfigs | 1<<aclAlterConfigs | 1<<aclIdempotentWrite
)
