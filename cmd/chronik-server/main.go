// Command chronik-server is the broker daemon and its tools.
package main

func main() {}
