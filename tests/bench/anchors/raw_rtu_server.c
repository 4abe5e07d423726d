/* Anchor on a line: a new pty whose other end answers each eight bytes with the same ten registers of unit 1.
 *
 * usage: raw_rtu_server     (prints the path of the pty) */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

enum { QUANTITY = 10, REQUEST = 8, ANSWER = 5 + 2 * QUANTITY };

static void die(const char *what) {
    perror(what);
    exit(1);
}

static unsigned crc16(const unsigned char *bytes, size_t length) {
    unsigned crc = 0xffff;
    for (size_t i = 0; i < length; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) crc = crc & 1 ? crc >> 1 ^ 0xa001 : crc >> 1;
    }
    return crc;
}

int main(void) {
    int line = posix_openpt(O_RDWR | O_NOCTTY);
    if (line < 0 || grantpt(line) != 0 || unlockpt(line) != 0) die("posix_openpt");
    /* Held open, so that the pty survives each client; raw, so that nothing is echoed before one opens it. */
    int held = open(ptsname(line), O_RDWR | O_NOCTTY);
    struct termios settings;
    if (held < 0 || tcgetattr(held, &settings) != 0) die("pty");
    cfmakeraw(&settings);
    if (tcsetattr(held, TCSANOW, &settings) != 0) die("tcsetattr");
    printf("%s\n", ptsname(line));
    fflush(stdout);
    unsigned char in[256], answer[ANSWER] = {1, 3, 2 * QUANTITY};
    unsigned crc = crc16(answer, ANSWER - 2);
    answer[ANSWER - 2] = (unsigned char)crc, answer[ANSWER - 1] = (unsigned char)(crc >> 8);
    for (size_t have = 0;;) {
        ssize_t n = read(line, in + have, sizeof in - have);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) die("read");
        for (have += (size_t)n; have >= REQUEST; have -= REQUEST) {
            if (write(line, answer, ANSWER) != ANSWER) die("write");
            memmove(in, in + REQUEST, have - REQUEST);
        }
    }
}
