/* The machine's limit: bytes there and back over a Unix socket, by blocking read and write.
 *
 *   pingpong pair REQUEST REPLY TIMES    two processes over a socket pair; prints nanoseconds for a round trip
 *   pingpong serve SOCKET                an echo of whatever comes, one connection after the other
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static char buffer[1 << 20];

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int receive(int fd, size_t size) {
    for (size_t got = 0; got < size;) {
        ssize_t n = read(fd, buffer, size - got);
        if (n <= 0) return 0;
        got += (size_t)n;
    }
    return 1;
}

static int give(int fd, size_t size) {
    for (size_t sent = 0; sent < size;) {
        ssize_t n = write(fd, buffer + sent, size - sent);
        if (n <= 0) return 0;
        sent += (size_t)n;
    }
    return 1;
}

static int pair(size_t request, size_t reply, long times) {
    int ends[2];
    struct timespec began, ended;
    if (request > sizeof buffer || reply > sizeof buffer || times < 1) return 2;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends)) fail("socketpair");
    pid_t child = fork();
    if (child < 0) fail("fork");
    if (child == 0) {
        close(ends[0]);
        while (receive(ends[1], request) && give(ends[1], reply)) {}
        _exit(0);
    }
    close(ends[1]);
    clock_gettime(CLOCK_MONOTONIC, &began);
    for (long at = 0; at < times; at++)
        if (!give(ends[0], request) || !receive(ends[0], reply)) fail("pair");
    clock_gettime(CLOCK_MONOTONIC, &ended);
    printf("%.1f\n", ((ended.tv_sec - began.tv_sec) * 1e9 + (ended.tv_nsec - began.tv_nsec)) / (double)times);
    return 0;
}

static int serve(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 8)) fail(path);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0) fail("accept");
        for (ssize_t n; (n = read(fd, buffer, sizeof buffer)) > 0;)
            if (!give(fd, (size_t)n)) break;
        close(fd);
    }
}

int main(int count, char **words) {
    if (count == 5 && !strcmp(words[1], "pair")) return pair(strtoul(words[2], 0, 10), strtoul(words[3], 0, 10), atol(words[4]));
    if (count == 3 && !strcmp(words[1], "serve")) return serve(words[2]);
    fprintf(stderr, "pingpong pair REQUEST REPLY TIMES | pingpong serve SOCKET\n");
    return 2;
}
