"""events: sources that report a change of the host: uevents, rtnetlink, inotify."""
