"""HTTP as both kinds of servers are asked by it: connections and streams of events."""
