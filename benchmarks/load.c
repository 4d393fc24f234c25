/* Sends requests to a daemon over its Unix socket, one at a time on each of several connections.
 *
 *   load SOCKET FRAMING REQUESTS CLIENTS SECONDS
 *
 * FRAMING is `nul` (Varlink: JSON objects, each followed by a zero byte) or `xdr` (libvirt's
 * RPC: packets that start with their length). REQUESTS is a file: the 32-bit number of greeting
 * requests for each connection, then all requests, the greeting first, each preceded by its
 * 32-bit length; numbers are in host order. With 0 SECONDS, every request is sent once, in order.
 *
 * Prints one JSON object: the number of answered requests, the number of received bytes, the
 * time from the first request to the last reply, and quantiles of the time of one request, in
 * nanoseconds. Exits with 3 for an error reply, and with 4 after 300 s without a reply. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { CHUNK = 1 << 20, HEADER = 28, PATIENCE_MS = 300000 };

struct request { uint32_t size; const char *data; };
struct client { int fd; char *buffer; size_t used, room, searched; uint64_t sent; };

static struct request *requests;
static size_t count, greetings;
static int xdr;
static uint64_t received;

static void fail(const char *what) { perror(what); exit(1); }

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void load_requests(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END)) fail(path);
    long size = ftell(file);
    char *data = malloc((size_t)size + 1), *end = data + size;
    rewind(file);
    if (!data || fread(data, 1, (size_t)size, file) != (size_t)size) fail(path);
    fclose(file);
    uint32_t number;
    memcpy(&number, data, 4);
    greetings = number;
    for (char *at = data + 4; at < end; at += number) {
        memcpy(&number, at, 4);
        at += 4;
        if (count % 1024 == 0 && !(requests = realloc(requests, (count + 1024) * sizeof *requests)))
            fail("memory");
        requests[count++] = (struct request){number, at};
    }
    if (count <= greetings) { fputs("no requests\n", stderr); exit(2); }
}

static void send_request(struct client *client, const struct request *request)
{
    for (size_t done = 0; done < request->size;) {
        ssize_t sent = send(client->fd, request->data + done, request->size - done, MSG_NOSIGNAL);
        if (sent < 0) fail("send");
        done += (size_t)sent;
    }
}

/* Return the length of the reply at the start of the buffer, 0 while it is incomplete. */
static size_t reply_size(struct client *client)
{
    if (!xdr) {
        char *zero = memchr(client->buffer + client->searched, 0, client->used - client->searched);
        client->searched = client->used;
        return zero ? (size_t)(zero - client->buffer) + 1 : 0;
    }
    uint32_t size;
    if (client->used < HEADER) return 0;
    memcpy(&size, client->buffer, 4);
    size = ntohl(size);
    return client->used >= size ? size : 0;
}

static void check(struct client *client, size_t size)
{
    if (xdr ? client->buffer[27] != 0 : !strncmp(client->buffer, "{\"error\"", 8)) {
        fprintf(stderr, "error reply: %.*s\n", xdr ? 0 : (int)(size > 300 ? 300 : size), client->buffer);
        exit(3);
    }
}

/* Receive data; return 1 if it completes a reply, which is removed from the buffer. */
static int receive(struct client *client)
{
    if (client->room - client->used < CHUNK) {
        client->room += client->room + CHUNK;
        if (!(client->buffer = realloc(client->buffer, client->room))) fail("memory");
    }
    ssize_t got = recv(client->fd, client->buffer + client->used, client->room - client->used, 0);
    if (got <= 0) { fputs("the daemon closed the connection\n", stderr); exit(1); }
    client->used += (size_t)got;
    size_t size = reply_size(client);
    if (!size) return 0;
    check(client, size);
    received += size;
    client->used -= size;
    memmove(client->buffer, client->buffer + size, client->used);
    client->searched = 0;
    return 1;
}

static int compare(const void *one, const void *other)
{
    uint64_t left = *(const uint64_t *)one, right = *(const uint64_t *)other;
    return (left > right) - (left < right);
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        fputs("usage: load SOCKET nul|xdr REQUESTS CLIENTS SECONDS\n"
              "example: load /run/nodedevd.sock nul requests 64 2\n", stderr);
        return 2;
    }
    xdr = !strcmp(argv[2], "xdr");
    load_requests(argv[3]);
    int clients = atoi(argv[4]);
    double seconds = atof(argv[5]);
    struct client *all = calloc((size_t)clients, sizeof *all);
    int poll = epoll_create1(0);
    for (int number = 0; number < clients; number++) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        strncpy(address.sun_path, argv[1], sizeof address.sun_path - 1);
        all[number].fd = socket(AF_UNIX, SOCK_STREAM, 0);
        while (connect(all[number].fd, (struct sockaddr *)&address, sizeof address))
            if (errno != EAGAIN) fail("connect");
        for (size_t one = 0; one < greetings; one++) {
            send_request(&all[number], &requests[one]);
            while (!receive(&all[number])) ;
        }
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)number};
        epoll_ctl(poll, EPOLL_CTL_ADD, all[number].fd, &event);
    }
    received = 0;
    size_t next = greetings, answered = 0, room = 1 << 16, open = 0;
    uint64_t *latencies = malloc(room * sizeof *latencies);
    uint64_t start = now(), stop = start + (uint64_t)(seconds * 1e9), last = start;
    for (int number = 0; number < clients && next < count; number++, open++) {
        all[number].sent = now();
        send_request(&all[number], &requests[next++]);
        if (seconds > 0 && next == count) next = greetings;
    }
    while (open) {
        struct epoll_event events[64];
        int ready = epoll_wait(poll, events, 64, PATIENCE_MS);
        if (ready == 0) { fputs("no reply within 300 s\n", stderr); return 4; }
        for (int at = 0; at < ready; at++) {
            struct client *client = &all[events[at].data.u32];
            if (!receive(client)) continue;
            last = now();
            if (answered == room && !(latencies = realloc(latencies, (room *= 2) * sizeof *latencies)))
                fail("memory");
            latencies[answered++] = last - client->sent;
            open--;
            if (seconds > 0 ? last >= stop : next == count) continue;
            client->sent = last;
            send_request(client, &requests[next++]);
            if (seconds > 0 && next == count) next = greetings;
            open++;
        }
    }
    qsort(latencies, answered, sizeof *latencies, compare);
    printf("{\"answered\": %zu, \"bytes\": %llu, \"wall_ns\": %llu, \"p50_ns\": %llu, \"p99_ns\": %llu}\n",
           answered, (unsigned long long)received, (unsigned long long)(last - start),
           (unsigned long long)latencies[answered / 2],
           (unsigned long long)latencies[answered * 99 / 100]);
    return 0;
}
