/* A libmodbus server: 300 registers and 2400 coils from address 0. Without an argument it serves many TCP clients, after
 * the pattern of its own bandwidth-server-many-up.c, and prints its port; with the path of a serial line it is unit 1 on it
 * and prints "ready". Ends when stdin closes. Build: cc libmodbus_server.c -lmodbus */
#include <arpa/inet.h>
#include <errno.h>
#include <modbus.h>
#include <stdio.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

#define REGISTERS 300
#define COILS 2400

static int listen_anywhere(modbus_t *ctx)
{
    struct sockaddr_in address;
    socklen_t length = sizeof(address);
    int listener = modbus_tcp_listen(ctx, 8);
    if (listener < 0 || getsockname(listener, (struct sockaddr *)&address, &length) < 0)
        return -1;
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

static modbus_mapping_t *filled(void)
{
    modbus_mapping_t *map = modbus_mapping_new(COILS, COILS, REGISTERS, REGISTERS);
    for (int i = 0; map && i < REGISTERS; i++)
        map->tab_registers[i] = map->tab_input_registers[i] = (uint16_t)(i * 257);
    for (int i = 0; map && i < COILS; i++)
        map->tab_bits[i] = map->tab_input_bits[i] = i % 3 == 0;
    return map;
}

static int serve_connections(modbus_t *ctx, modbus_mapping_t *map)
{
    uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
    int listener = listen_anywhere(ctx);
    if (listener < 0)
        return 1;
    fd_set open, ready;
    FD_ZERO(&open);
    FD_SET(STDIN_FILENO, &open);
    FD_SET(listener, &open);
    for (;;) {
        ready = open;
        if (select(FD_SETSIZE, &ready, NULL, NULL, NULL) < 0)
            return 1;
        for (int fd = 0; fd < FD_SETSIZE; fd++) {
            if (!FD_ISSET(fd, &ready))
                continue;
            if (fd == STDIN_FILENO)
                return 0;
            if (fd == listener) {
                int client = accept(listener, NULL, NULL);
                if (client >= 0)
                    FD_SET(client, &open);
                continue;
            }
            modbus_set_socket(ctx, fd);
            int size = modbus_receive(ctx, query);
            if (size > 0)
                modbus_reply(ctx, query, size, map);
            else if (size < 0) {
                close(fd);
                FD_CLR(fd, &open);
            }
        }
    }
}

/* Like its tests/unit-test-server.c; what it cannot read it throws away, as MODBUS_ERROR_RECOVERY_PROTOCOL has it. */
static int serve_line(modbus_t *ctx, modbus_mapping_t *map)
{
    uint8_t query[MODBUS_RTU_MAX_ADU_LENGTH];
    if (modbus_set_slave(ctx, 1) < 0 || modbus_connect(ctx) < 0)
        return 1;
    modbus_set_error_recovery(ctx, MODBUS_ERROR_RECOVERY_PROTOCOL);
    puts("ready");
    fflush(stdout);
    int line = modbus_get_socket(ctx);
    for (;;) {
        fd_set ready;
        FD_ZERO(&ready);
        FD_SET(STDIN_FILENO, &ready);
        FD_SET(line, &ready);
        if (select(line + 1, &ready, NULL, NULL, NULL) < 0)
            return 1;
        if (FD_ISSET(STDIN_FILENO, &ready))
            return 0;
        int size = modbus_receive(ctx, query);
        if (size > 0)
            modbus_reply(ctx, query, size, map);
    }
}

int main(int argc, char **argv)
{
    modbus_mapping_t *map = filled();
    modbus_t *ctx = argc > 1 ? modbus_new_rtu(argv[1], 19200, 'N', 8, 1) : modbus_new_tcp("127.0.0.1", 0);
    if (!ctx || !map)
        return 1;
    return argc > 1 ? serve_line(ctx, map) : serve_connections(ctx, map);
}
