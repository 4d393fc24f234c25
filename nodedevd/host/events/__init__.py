"""events: monitors that receive the changes of a host: uevents, rtnetlink, inotify."""
