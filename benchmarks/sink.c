/* SPDX-License-Identifier: Apache-2.0
 *
 * A server that is faster than its clients, for benchmarks: of uploads, and of many small readings.
 *
 *     sink serve <port of the emulator> <milliseconds>   prints its own port
 *     sink blast <port> <bytes>                          sends so many bytes and prints the seconds
 *
 * What goes into a file (PUT and PATCH below /files/, or anything below /sink/) is counted and thrown away, in the
 * kernel; the response comes after so many milliseconds (to a GET, an empty JSON array). All else is passed on to the emulator, so that a whole task
 * can run. The permissions of a group, once read, come from memory after so many milliseconds, until they are written;
 * GET /sink/served tells how many did, and counts anew. One thread for each connection.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define HEAD_MAX 65536
#define PIECE (1 << 20)
#define FILES_MAX 65536

static int emulator_port;
static long delay_ms;

/* Bytes that have come for each large file, by the hash of its path. 0: not begun; otherwise bytes + 1. */
static unsigned long long received[FILES_MAX];
static pthread_mutex_t received_lock = PTHREAD_MUTEX_INITIALIZER;

/* Responses that come from memory, by their path; a path is no more than its letters up to a slash at its end. */
static struct { char *path, *answer; size_t length; } kept[FILES_MAX];
static pthread_mutex_t kept_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned long long served;

static unsigned slot_of(const char *path) {
    unsigned long long hash = 1469598103934665603ULL;
    for (; *path && *path != ' ' && *path != '?'; path++) hash = (hash ^ (unsigned char)*path) * 1099511628211ULL;
    return (unsigned)(hash % FILES_MAX);
}

/* Return the length of a target that names the permissions of a group, and 0 for any other. */
static size_t permissions_in(const char *target) {
    size_t length = strcspn(target, " ?");
    if (length && target[length - 1] == '/') length--;
    return length > 12 && strncmp(target + length - 12, "/permissions", 12) == 0 ? length : 0;
}

static size_t place_of(const char *path, size_t length) {
    char whole[512];
    snprintf(whole, sizeof whole, "%.*s", (int)length, path);
    size_t place = slot_of(whole);
    while (kept[place].path && strcmp(kept[place].path, whole)) place = (place + 1) % FILES_MAX;
    if (!kept[place].path) kept[place].path = strdup(whole);
    return place;
}

/* Keep a response, or with none forget it. */
static void keep(const char *path, size_t path_length, const char *answer, size_t length) {
    pthread_mutex_lock(&kept_lock);
    size_t place = place_of(path, path_length);
    free(kept[place].answer);
    kept[place].answer = answer ? memcpy(malloc(length), answer, length) : NULL;
    kept[place].length = length;
    pthread_mutex_unlock(&kept_lock);
}

/* Copy a response that is kept; return its length, and 0 if there is none. */
static size_t recall(const char *path, size_t path_length, char *answer) {
    pthread_mutex_lock(&kept_lock);
    size_t place = place_of(path, path_length), length = kept[place].answer ? kept[place].length : 0;
    memcpy(answer, kept[place].answer ? kept[place].answer : "", length);
    served += length != 0;
    pthread_mutex_unlock(&kept_lock);
    return length;
}

static void pause_a_while(void) {
    struct timespec pause = {delay_ms / 1000, (delay_ms % 1000) * 1000000L};
    if (delay_ms) nanosleep(&pause, NULL);
}

static int connected_to(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0) return -1;
    return fd;
}

static int send_all(int fd, const char *data, size_t length) {
    while (length) {
        ssize_t sent = send(fd, data, length, MSG_NOSIGNAL);
        if (sent <= 0) return -1;
        data += sent;
        length -= (size_t)sent;
    }
    return 0;
}

/* Read until the end of a head; return its length, 0 at the end of the connection. *have: bytes in the buffer. */
static size_t read_head(int fd, char *buffer, size_t *have) {
    for (;;) {
        buffer[*have] = 0;
        char *end = strstr(buffer, "\r\n\r\n");
        if (end) return (size_t)(end - buffer) + 4;
        if (*have >= HEAD_MAX - 1) return 0;
        ssize_t got = recv(fd, buffer + *have, HEAD_MAX - 1 - *have, 0);
        if (got <= 0) return 0;
        *have += (size_t)got;
    }
}

static unsigned long long content_length(const char *head) {
    const char *found = strcasestr(head, "\r\ncontent-length:");
    return found ? strtoull(found + 17, NULL, 10) : 0;
}

/* Throw a body away; MSG_TRUNC frees it in the kernel without a copy. */
static int discard(int fd, unsigned long long left) {
    while (left) {
        ssize_t got = recv(fd, NULL, left < PIECE ? (size_t)left : PIECE, MSG_TRUNC);
        if (got <= 0) return -1;
        left -= (unsigned long long)got;
    }
    return 0;
}

/* Pass one request on to the emulator, and its response back. */
static int relay(int client, int *backend, const char *head, size_t head_length, const char *rest, size_t rest_length,
                 unsigned long long body_left) {
    static __thread char buffer[PIECE];
    char answer[HEAD_MAX];
    size_t have = 0, length;
    if (*backend >= 0 && recv(*backend, answer, 1, MSG_PEEK | MSG_DONTWAIT) == 0) { /* idle for long */
        close(*backend);
        *backend = -1;
    }
    if (*backend < 0 && (*backend = connected_to(emulator_port)) < 0) return -1;
    if (send_all(*backend, head, head_length) || send_all(*backend, rest, rest_length)) return -1;
    while (body_left) {
        ssize_t got = recv(client, buffer, body_left < PIECE ? (size_t)body_left : PIECE, 0);
        if (got <= 0 || send_all(*backend, buffer, (size_t)got)) return -1;
        body_left -= (unsigned long long)got;
    }
    if (!(length = read_head(*backend, answer, &have))) return -1;
    unsigned long long left = strncmp(head, "HEAD ", 5) == 0 ? 0 : content_length(answer);
    left -= left < have - length ? left : have - length;
    while (left && have + left < HEAD_MAX) {
        ssize_t got = recv(*backend, answer + have, (size_t)left, 0);
        if (got <= 0) return -1;
        have += (size_t)got;
        left -= (unsigned long long)got;
    }
    const char *target = strchr(head, ' ') + 1;
    size_t permissions = permissions_in(target);
    int is_get = strncmp(head, "GET ", 4) == 0, is_ok = strncmp(answer, "HTTP/1.1 200", 12) == 0;
    if (permissions) keep(target, permissions, is_get && is_ok && !left ? answer : NULL, have);
    if (send_all(client, answer, have)) return -1;
    while (left) {
        ssize_t got = recv(*backend, buffer, left < PIECE ? (size_t)left : PIECE, 0);
        if (got <= 0 || send_all(client, buffer, (size_t)got)) return -1;
        left -= (unsigned long long)got;
    }
    return 0;
}

static int respond(int fd, const char *head, const char *target, unsigned long long body) {
    char answer[256];
    const char *status = "200 OK";
    unsigned slot = slot_of(target);
    int get = strncmp(head, "GET ", 4) == 0;
    unsigned long long bytes = 0;
    pthread_mutex_lock(&received_lock);
    if (strncmp(head, "PATCH ", 6) == 0) received[slot] += body;
    if (strncmp(head, "POST ", 5) == 0 && strcasestr(target, "action=INITIALIZE")) received[slot] = 1;
    if (strncmp(head, "HEAD ", 5) == 0 && !(bytes = received[slot])) status = "404 Not Found";
    pthread_mutex_unlock(&received_lock);
    if (strncmp(target, "/sink/served ", 13) == 0) {
        char number[32];
        int digits = snprintf(number, sizeof number, "%llu", __atomic_exchange_n(&served, 0, __ATOMIC_RELAXED));
        int whole = snprintf(answer, sizeof answer,
                             "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", digits, number);
        return send_all(fd, answer, (size_t)whole);
    }
    int length = bytes > 1 ? snprintf(answer, sizeof answer,
                                      "HTTP/1.1 %s\r\nRange: bytes=0-%llu\r\nContent-Length: 0\r\n\r\n", status, bytes - 2)
             : get         ? snprintf(answer, sizeof answer,
                                      "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]", status)
                           : snprintf(answer, sizeof answer, "HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n", status);
    return send_all(fd, answer, (size_t)length);
}

static void *serve(void *argument) {
    int fd = (int)(long)argument, backend = -1;
    char *buffer = malloc(HEAD_MAX), *answer = malloc(HEAD_MAX);
    size_t have = 0, length, permissions, known;
    while ((length = read_head(fd, buffer, &have))) {
        const char *target = strchr(buffer, ' ');
        char *line_end = strstr(buffer, "\r\n");
        unsigned long long body = content_length(buffer), left;
        size_t rest = have - length;
        if (rest > body) rest = (size_t)body;
        left = body - rest;
        if (!target || !line_end) break;
        *line_end = 0;
        int is_file = strstr(target, "/files/") != NULL || strncmp(target + 1, "/sink/", 6) == 0;
        *line_end = '\r';
        permissions = strncmp(buffer, "GET ", 4) == 0 ? permissions_in(target + 1) : 0;
        known = permissions && !is_file ? recall(target + 1, permissions, answer) : 0;
        if (known) {
            pause_a_while();
            if (send_all(fd, answer, known)) break;
        } else if (!is_file) {
            if (relay(fd, &backend, buffer, length, buffer + length, rest, left)) break;
        } else {
            char *expects = strcasestr(buffer, "\r\nexpect: 100-continue");
            if (expects && expects < buffer + length && send_all(fd, "HTTP/1.1 100 Continue\r\n\r\n", 25)) break;
            if (discard(fd, left)) break;
            pause_a_while();
            if (respond(fd, buffer, target + 1, body)) break;
        }
        memmove(buffer, buffer + length + rest, have - length - rest);
        have -= length + rest;
    }
    if (backend >= 0) close(backend);
    close(fd);
    free(buffer);
    free(answer);
    return NULL;
}

static int blast(int port, unsigned long long bytes) {
    char head[128], answer[256], *piece = calloc(1, PIECE);
    struct timespec begun, ended;
    int fd = connected_to(port);
    int length = snprintf(head, sizeof head, "PUT /sink/blast HTTP/1.1\r\nContent-Length: %llu\r\n\r\n", bytes);
    clock_gettime(CLOCK_MONOTONIC, &begun);
    if (fd < 0 || send_all(fd, head, (size_t)length)) return 1;
    for (unsigned long long left = bytes; left;) {
        size_t size = left < PIECE ? (size_t)left : PIECE;
        if (send_all(fd, piece, size)) return 1;
        left -= size;
    }
    if (recv(fd, answer, sizeof answer, 0) <= 0) return 1;
    clock_gettime(CLOCK_MONOTONIC, &ended);
    printf("%.6f\n", (double)(ended.tv_sec - begun.tv_sec) + (double)(ended.tv_nsec - begun.tv_nsec) / 1e9);
    return 0;
}

int main(int count, char **arguments) {
    if (count != 4) return 2;
    if (strcmp(arguments[1], "blast") == 0) return blast(atoi(arguments[2]), strtoull(arguments[3], NULL, 10));
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    emulator_port = atoi(arguments[2]);
    delay_ms = atol(arguments[3]);
    signal(SIGPIPE, SIG_IGN);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 1024)) return 1;
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        pthread_t thread;
        if (fd < 0) continue;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (pthread_create(&thread, NULL, serve, (void *)(long)fd)) close(fd);
        else pthread_detach(thread);
    }
}
