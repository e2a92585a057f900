"""The service: a gallery over HTTP, for programs and for people.

`app.create_app` makes the application, `hosted` holds the galleries of a service, `routes` the calls. Only
the modules that the command line needs first (`state`, `keys`, `settings`) can be imported without the extra
`serve`.
"""
