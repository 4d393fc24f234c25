/* The floor of a call: the cost of receiving and answering it, and nothing else.
 *
 *   answer SOCKET BYTES
 *
 * Listens on SOCKET, and answers every zero byte of a client with BYTES bytes, the last of them
 * zero. It has one thread and uses epoll(7). A signal ends it. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { EVENTS = 64, ROOM = 1 << 16 };

static void fail(const char *what) { perror(what); exit(1); }

static void watch(int poll, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event)) fail("epoll_ctl");
}

static void answer(int fd, const char *reply, size_t size)
{
    static char request[ROOM];
    ssize_t got = recv(fd, request, sizeof request, 0);
    if (got <= 0) { close(fd); return; }
    for (ssize_t at = 0; at < got; at++)
        if (!request[at] && send(fd, reply, size, MSG_NOSIGNAL) != (ssize_t)size) fail("send");
}

int main(int argc, char **argv)
{
    if (argc != 3 || atoi(argv[2]) < 1) {
        fputs("usage: answer SOCKET BYTES\nexample: answer /tmp/answer.sock 900\n", stderr);
        return 2;
    }
    size_t size = (size_t)atoi(argv[2]);
    char *reply = malloc(size);
    memset(reply, 'x', size);
    reply[size - 1] = 0;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, argv[1], sizeof address.sun_path - 1);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0), poll = epoll_create1(0);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 64))
        fail(argv[1]);
    watch(poll, listener);
    for (;;) {
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(poll, events, EVENTS, -1);
        for (int at = 0; at < ready; at++) {
            if (events[at].data.fd != listener) answer(events[at].data.fd, reply, size);
            else watch(poll, accept(listener, NULL, NULL));
        }
    }
}
