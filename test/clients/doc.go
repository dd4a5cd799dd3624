// Package clients holds the matrix of other people's Kafka clients: each does
// against a three-node cluster of the built binary what its users do. It is a
// module of its own, so that their dependencies stay out of the product's.
//
// The tests build chronik-server from this clone (or take TEST_BIN), and need
// kcat on the path; without it kcat's part is skipped aloud, unless
// TEST_CLIENTS_REQUIRED=1 makes that a failure, as CI does.
package clients
