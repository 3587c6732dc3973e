/* A plugin without an SDK: a socket and a few bytes (contrib/docs/plugin-without-sdk.md).
 *
 *     connect -- PLUGIN_REGISTER -- READY -- calls and signals, one after the other -- SHUTDOWN_GRACEFUL -- exit 0
 *
 * All integers travel little-endian, byte by byte, so this runs on any processor.
 */
#define _POSIX_C_SOURCE 200809L
#include <ctype.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define NAME "hello-c"
#define VERSION "1.0.0"
#define ACTIONS "{\"actions\":{\"shout\":{\"command_id\":1}}}"

enum { HEADER_SIZE = 12, REGISTER_SIZE = 56, SIGNAL_SIZE = 43, ERROR_SIZE = 8 };
enum { PLUGIN_REGISTER = 0xF0, PLUGIN_HEALTH = 0xF2, PLUGIN_SIGNAL = 0xF3, SHOUT = 1 };
enum { FLAG_ASYNC = 0x01, FLAG_SIGNAL = 0x02, FLAG_RESPONSE = 0x08, FLAG_ERROR = 0x10 };
enum { READY = 0x01, SHUTDOWN_GRACEFUL = 0x10 };
enum { ERR_UNKNOWN_COMMAND = 20003 };
static const uint32_t MAGIC = 0x52454544;
static const uint32_t MOST = 16 * 1024 * 1024; /* the core's limit of a payload */

struct frame {
    uint8_t command_id, flags;
    uint32_t length;
    uint8_t *payload; /* the receiver frees it */
};

static void fail(const char *what) {
    perror(what); /* stderr is in `reed plugin logs hello-c` */
    exit(1);
}

static uint8_t *put(uint8_t *at, uint64_t value, int bytes) {
    while (bytes--) {
        *at++ = value & 0xFF;
        value >>= 8;
    }
    return at;
}

static uint64_t get(const uint8_t *at, int bytes) {
    uint64_t value = 0;
    while (bytes--) value = value << 8 | at[bytes];
    return value;
}

/* A field of a fixed size: the text, and zeros. */
static uint8_t *put_text(uint8_t *at, const char *text, size_t size) {
    memset(at, 0, size);
    memcpy(at, text, strlen(text));
    return at + size;
}

static void write_all(int fd, const uint8_t *data, size_t size) {
    while (size) {
        ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
        if (sent < 0) fail("send");
        data += sent;
        size -= (size_t)sent;
    }
}

static void read_all(int fd, uint8_t *data, size_t size) {
    while (size) {
        ssize_t got = recv(fd, data, size, 0);
        if (got < 0) fail("recv");
        if (!got) {
            fputs("the core is gone\n", stderr);
            exit(1);
        }
        data += got;
        size -= (size_t)got;
    }
}

static void send_frame(int fd, uint8_t command_id, uint8_t flags, const uint8_t *payload, uint32_t length) {
    uint8_t header[HEADER_SIZE], *at = put(header, MAGIC, 4);
    *at++ = 1; /* the protocol's version */
    *at++ = command_id;
    *at++ = flags;
    *at++ = 0;
    put(at, length, 4);
    write_all(fd, header, sizeof header);
    write_all(fd, payload, length);
}

static struct frame receive_frame(int fd) {
    uint8_t header[HEADER_SIZE];
    read_all(fd, header, sizeof header);
    struct frame frame = {.command_id = header[5], .flags = header[6], .length = (uint32_t)get(header + 8, 4)};
    if (get(header, 4) != MAGIC || header[4] != 1 || frame.length > MOST) {
        fputs("what came is no frame\n", stderr);
        exit(1);
    }
    frame.payload = malloc(frame.length + 1);
    if (!frame.payload) fail("malloc");
    read_all(fd, frame.payload, frame.length);
    return frame;
}

static void send_ready(int fd) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint8_t payload[SIGNAL_SIZE], *at = payload;
    *at++ = READY;
    at = put(at, (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000, 8);
    at = put_text(at, NAME, 32);
    put(at, 0, 2); /* no data */
    send_frame(fd, PLUGIN_SIGNAL, FLAG_SIGNAL, payload, sizeof payload);
}

static void register_plugin(int fd) {
    uint8_t payload[REGISTER_SIZE + sizeof ACTIONS - 1], *at = put_text(payload, NAME, 32);
    at = put_text(at, VERSION, 16);
    at = put(at, (uint64_t)getpid(), 4);
    at = put(at, sizeof ACTIONS - 1, 4);
    memcpy(at, ACTIONS, sizeof ACTIONS - 1);
    send_frame(fd, PLUGIN_REGISTER, 0, payload, sizeof payload);
    struct frame answer = receive_frame(fd);
    if (answer.flags & FLAG_ERROR && answer.length >= ERROR_SIZE) {
        fprintf(stderr, "not registered: %.*s\n", (int)(answer.length - ERROR_SIZE), (char *)answer.payload + ERROR_SIZE);
        exit(1);
    }
    free(answer.payload); /* <HI status, length, then JSON: settings, permissions, limits */
}

/* One call, one response, unless the caller wants none. */
static void answer_call(int fd, const struct frame *call) {
    uint8_t *response = malloc(call->length + 64), *at, flags = FLAG_RESPONSE;
    if (!response) fail("malloc");
    if (call->command_id == SHOUT) {
        at = put(response, 200, 2);
        for (uint32_t i = 0; i < call->length; i++) *at++ = (uint8_t)toupper(call->payload[i]);
    } else if (call->command_id == PLUGIN_HEALTH) { /* figures of our own: there are none */
        at = put(put(response, 200, 2), 2, 4);
        memcpy(at, "{}", 2);
        at += 2;
    } else {
        static const char text[] = "no such action";
        at = put(put(put(response, 501, 2), ERR_UNKNOWN_COMMAND, 4), sizeof text - 1, 2);
        memcpy(at, text, sizeof text - 1);
        at += sizeof text - 1;
        flags |= FLAG_ERROR;
    }
    if (!(call->flags & FLAG_ASYNC)) send_frame(fd, call->command_id, flags, response, (uint32_t)(at - response));
    free(response);
}

static int connect_to(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *name = path ? strrchr(path, '/') : NULL;
    if (!name || name - path >= PATH_MAX || strlen(name) > sizeof address.sun_path) {
        fputs("REED_SOCKET is missing: the core starts this program\n", stderr);
        exit(1);
    }
    char folder[PATH_MAX] = "";
    memcpy(folder, path, name - path);
    if (chdir(folder) < 0) fail(folder);  // the whole path may be longer than sun_path
    strcpy(address.sun_path, name + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0) fail(path);
    return fd;
}

int main(void) {
    int fd = connect_to(getenv("REED_SOCKET"));
    register_plugin(fd);
    send_ready(fd);
    for (int runs = 1; runs;) {
        struct frame frame = receive_frame(fd);
        if (!(frame.flags & FLAG_SIGNAL)) answer_call(fd, &frame);
        else if (frame.length >= SIGNAL_SIZE && frame.payload[0] == SHUTDOWN_GRACEFUL) runs = 0;
        else send_ready(fd); /* HEALTH_CHECK, RELOAD_CONFIG, WAKE_UP */
        free(frame.payload);
    }
    return close(fd) ? 1 : 0;
}
