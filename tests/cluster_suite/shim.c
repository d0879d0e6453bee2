/*
 * What goes between a node and the system in tests, by LD_PRELOAD: a disk that is slow, and a network that is not its own.
 *
 * FAULTS_SYNC    A file that holds a number. While it is above 0, every fsync and fdatasync takes so many milliseconds longer;
 *                each of them appends a byte to the file of that name with ".seen" behind it.
 * FAULTS_ROUTES  "7001=9001,7002=9002": who connects to port 7001 by IPv4 gets to port 9001.
 *
 * It reaches what goes through the C library, as everything of Kvorum's that matters here does.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MAX_ROUTES 64
#define MAX_PATH 4096

static char sync_path[MAX_PATH], seen_path[MAX_PATH];
static struct { unsigned long from, to; } routes[MAX_ROUTES];
static int route_count;

/* The environment is read before anything runs beside it. */
__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAULTS_SYNC");
    if (path != NULL && strlen(path) < MAX_PATH - sizeof ".seen") {
        strcpy(sync_path, path);
        snprintf(seen_path, sizeof seen_path, "%.*s.seen", (int)(MAX_PATH - sizeof ".seen"), path);
    }
    const char *at = getenv("FAULTS_ROUTES");
    while (at != NULL && *at != '\0' && route_count < MAX_ROUTES) {
        char *end;
        routes[route_count].from = strtoul(at, &end, 10);
        if (*end != '=') break;
        routes[route_count].to = strtoul(end + 1, &end, 10);
        route_count++;
        at = *end == ',' ? end + 1 : end;
    }
}

static void take_time(void) {
    if (sync_path[0] == '\0') return;
    char text[32];
    int file = open(sync_path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return;
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    if (length <= 0) return;
    text[length] = '\0';
    long ms = strtol(text, NULL, 10);
    if (ms <= 0) return;
    file = open(seen_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (file >= 0) {
        if (write(file, "x", 1) < 0) abort();
        close(file);
    }
    struct timespec left = { ms / 1000, ms % 1000 * 1000000 };
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {}
}

int fsync(int file) {
    take_time();
    return (int)syscall(SYS_fsync, file);
}

int fdatasync(int file) {
    take_time();
    return (int)syscall(SYS_fdatasync, file);
}

int connect(int socket, const struct sockaddr *address, socklen_t length) {
    struct sockaddr_in to;
    if (address != NULL && length >= sizeof to && address->sa_family == AF_INET) {
        memcpy(&to, address, sizeof to);
        for (int n = 0; n < route_count; n++) {
            if (routes[n].from == ntohs(to.sin_port)) {
                to.sin_port = htons((uint16_t)routes[n].to);
                return (int)syscall(SYS_connect, socket, &to, sizeof to);
            }
        }
    }
    return (int)syscall(SYS_connect, socket, address, length);
}
