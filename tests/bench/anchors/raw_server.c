/* Anchor: the fastest server one can write with blocking calls: one connection at a time, a prebuilt answer that differs only
 * in the transaction id; all answers to what one read gave leave in one write.
 *
 * usage: raw_server     (prints its port) */
#include "raw.h"

static void serve(int fd) {
    unsigned char in[4096], out[4096 / REQUEST * ANSWER + ANSWER];
    size_t have = 0;
    for (;;) {
        ssize_t n = recv(fd, in + have, sizeof in - have, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return;
        have += (size_t)n;
        size_t at = 0, length = 0;
        for (; have - at >= REQUEST; at += REQUEST, length += ANSWER) {
            unsigned char *answer = out + length;
            memset(answer, 0, ANSWER);
            answer[0] = in[at], answer[1] = in[at + 1];
            answer[5] = 3 + 2 * QUANTITY, answer[6] = 1, answer[7] = 3, answer[8] = 2 * QUANTITY;
        }
        write_all(fd, out, length);
        memmove(in, in + at, have - at);
        have -= at;
    }
}

int main(void) {
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, size) != 0 || listen(listener, 4) != 0) die("listen");
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd < 0) die("accept");
        no_delay(fd);
        serve(fd);
        close(fd);
    }
}
