/* Anchor: the fastest client one can write with blocking calls. `depth` requests leave in one write, then all answers are read.
 *
 * usage: raw_client PORT DEPTH
 * For each line `COUNT` on stdin it makes at least COUNT reads and prints one JSON line:
 * {"operations": n, "elapsed_ns": total, "p50_ns": median time of one batch of DEPTH}
 * A server that leaves a batch unanswered for two seconds ends it: {"stalled": "what did come"} */
#include "raw.h"
#include <sys/time.h>
#include <time.h>

static long long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int ascending(const void *a, const void *b) {
    long long x = *(const long long *)a, y = *(const long long *)b;
    return (x > y) - (x < y);
}

static int open_connection(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0) die("connect");
    no_delay(fd);
    struct timeval patience = {.tv_sec = 2};
    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0) die("SO_RCVTIMEO");
    return fd;
}

/* Reads `depth` answers and checks transaction id, length and function of each. */
static void read_answers(int fd, int depth, unsigned first) {
    static unsigned char bytes[DEEPEST * ANSWER];
    size_t have = 0, want = (size_t)depth * ANSWER;
    while (have < want) {
        ssize_t n = recv(fd, bytes + have, want - have, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0 && errno == EAGAIN) {
            printf("{\"stalled\": \"answered %zu of %d requests that came in one segment\"}\n", have / ANSWER, depth);
            exit(0);
        }
        if (n <= 0) die("recv");
        have += (size_t)n;
    }
    for (int i = 0; i < depth; i++) {
        unsigned char *answer = bytes + i * ANSWER;
        unsigned id = (first + (unsigned)i) & 0xffff;
        if ((answer[0] << 8 | answer[1]) != (int)id || answer[5] != 3 + 2 * QUANTITY || answer[7] != 3) {
            fprintf(stderr, "raw_client: answer %d is not the one that was asked for\n", i);
            exit(1);
        }
    }
}

int main(int argc, char **argv) {
    if (argc != 3 || atoi(argv[2]) < 1 || atoi(argv[2]) > DEEPEST) {
        fprintf(stderr, "usage: raw_client PORT DEPTH (1..%d)\n", DEEPEST);
        return 2;
    }
    int depth = atoi(argv[2]), fd = open_connection(atoi(argv[1]));
    unsigned char requests[DEEPEST * REQUEST];
    for (int i = 0; i < depth; i++)
        memcpy(requests + i * REQUEST, "\0\0\0\0\0\6\1\3\0\0\0\12", REQUEST);
    unsigned id = 0;
    long count;
    while (scanf("%ld", &count) == 1) {
        long batches = (count + depth - 1) / depth;
        long long *times = malloc(sizeof *times * (size_t)batches);
        if (!times) die("malloc");
        long long begin = now();
        for (long batch = 0; batch < batches; batch++) {
            long long t = now();
            for (int i = 0; i < depth; i++) {
                requests[i * REQUEST] = (unsigned char)((id + (unsigned)i) >> 8);
                requests[i * REQUEST + 1] = (unsigned char)(id + (unsigned)i);
            }
            write_all(fd, requests, (size_t)depth * REQUEST);
            read_answers(fd, depth, id);
            id = (id + (unsigned)depth) & 0xffff;
            times[batch] = now() - t;
        }
        long long elapsed = now() - begin;
        qsort(times, (size_t)batches, sizeof *times, ascending);
        printf("{\"operations\": %ld, \"elapsed_ns\": %lld, \"p50_ns\": %lld}\n", batches * depth, elapsed, times[batches / 2]);
        fflush(stdout);
        free(times);
    }
    return 0;
}
