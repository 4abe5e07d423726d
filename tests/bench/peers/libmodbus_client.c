/* libmodbus as it is meant to be used: connect, read. Speaks as anchors/raw_client.c does, at depth 1, which is all it has.
 *
 * usage: libmodbus_client tcp PORT | libmodbus_client rtu PATH */
#include <errno.h>
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { QUANTITY = 10 };

static long long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int ascending(const void *a, const void *b) {
    long long x = *(const long long *)a, y = *(const long long *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    int line = strcmp(argv[1], "rtu") == 0;
    modbus_t *context = line ? modbus_new_rtu(argv[2], 115200, 'N', 8, 1) : modbus_new_tcp("127.0.0.1", atoi(argv[2]));
    if (!context || modbus_set_slave(context, 1) != 0 || modbus_connect(context) != 0) {
        fprintf(stderr, "libmodbus_client: %s\n", modbus_strerror(errno));
        return 1;
    }
    long count;
    while (scanf("%ld", &count) == 1) {
        long long *times = malloc(sizeof *times * (size_t)count);
        if (!times) return 1;
        long long begin = now();
        for (long i = 0; i < count; i++) {
            uint16_t registers[QUANTITY];
            long long t = now();
            if (modbus_read_registers(context, 0, QUANTITY, registers) != QUANTITY) {
                fprintf(stderr, "libmodbus_client: %s\n", modbus_strerror(errno));
                return 1;
            }
            times[i] = now() - t;
        }
        long long elapsed = now() - begin;
        qsort(times, (size_t)count, sizeof *times, ascending);
        printf("{\"operations\": %ld, \"elapsed_ns\": %lld, \"p50_ns\": %lld}\n", count, elapsed, times[count / 2]);
        fflush(stdout);
        free(times);
    }
    return 0;
}
