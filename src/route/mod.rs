//! From a request's host, path and method to the route that is meant: the most specific one.
