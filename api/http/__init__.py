"""The HTTP application: routes, sockets and middleware around whatever cluster it is given."""
