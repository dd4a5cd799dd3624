// Package clients holds the matrix of other people's Kafka clients: each does
// against a three-node cluster of the built binary what its users do. It is a
// module of its own, so that their dependencies stay out of the product's.
//
// Kafka's own tools are run against such a cluster as users type them, and a
// real Kafka is given our logs to serve. The programs of java/ check what Java's
// admin, producer and consumer answer, call by call.
//
// The tests build chronik-server from this clone (or take TEST_BIN). They need
// kcat, cgo with a C compiler for librdkafka, and a JDK with Maven for Kafka's
// server, tools and client, which java/pom.xml names and which are fetched once.
// What is missing is skipped aloud, unless TEST_CLIENTS_REQUIRED=1 makes that a
// failure, as CI does; TEST_CLIENTS_SKIP=java leaves Java out all the same.
package clients
