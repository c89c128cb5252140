/* Tries to escape from the sandbox in which it runs, and prints for each way out whether it is open.
 *
 * Owns the ways out. It must not know which of them a sandbox should close: `sandbox.rs` knows that, and runs this
 * program instead of a daemon under the daemon's unit. It is written in C, because each way out is a single system
 * call.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void told(const char *way, int failed)
{
    if (failed)
        printf("%s: closed, %s\n", way, strerrordesc_np(errno));
    else
        printf("%s: open\n", way);
    fflush(stdout);
}

/* Runs a program. Returns 0 if it could be started; otherwise sets errno. */
static int run(const char *path)
{
    pid_t child = fork();
    int status;

    if (child == 0) {
        execl(path, path, "--nothing", NULL);
        _exit(errno);
    }
    if (child < 0 || waitpid(child, &status, 0) < 0)
        return -1;
    errno = WEXITSTATUS(status);
    return errno ? -1 : 0;
}

static int copy(const char *from, const char *to)
{
    char buffer[65536];
    ssize_t length;
    int input = open(from, O_RDONLY), output = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0700);

    if (input < 0 || output < 0)
        return -1;
    while ((length = read(input, buffer, sizeof buffer)) > 0)
        if (write(output, buffer, length) != length)
            return -1;
    close(input);
    return close(output);
}

/* Copies this program to a writable directory and runs the copy. */
static int run_own_copy(const char *folder)
{
    char path[4096];
    int failed, reason;

    snprintf(path, sizeof path, "%s/escape", folder);
    if (copy("/proc/self/exe", path) != 0) {
        perror(path);
        exit(1);
    }
    failed = run(path);
    reason = errno;
    unlink(path);
    errno = reason;
    return failed;
}

/* Returns one of the unit's own directories, given the name of systemd's variable. */
static const char *own(const char *variable)
{
    const char *folder = getenv(variable);

    return folder ? folder : "/tmp";
}

static int low_port(void)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(1) };
    int failed, end = socket(AF_INET, SOCK_DGRAM, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    failed = bind(end, (struct sockaddr *)&address, sizeof address);
    return failed;
}

int main(int count, char **arguments)
{
    char name[65];

    if (count > 1 && strcmp(arguments[1], "--nothing") == 0)
        return 0;
    told("exec", run("/usr/bin/true"));
    told("exec-own-copy-in-state", run_own_copy(own("STATE_DIRECTORY")));
    told("exec-own-copy-in-run", run_own_copy(own("RUNTIME_DIRECTORY")));
    told("exec-own-copy-in-tmp", run_own_copy("/tmp"));
    told("exec-own-copy-in-var-tmp", run_own_copy("/var/tmp"));
    told("writable-code", mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
    told("mount", mount("tmpfs", "/mnt", "tmpfs", 0, NULL) < 0);
    told("ptrace", ptrace(PTRACE_SEIZE, getppid() == 1 ? 1 : getppid(), NULL, NULL) < 0);
    told("raw-socket", socket(AF_INET, SOCK_RAW, IPPROTO_ICMP) < 0);
    told("packet-socket", socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL)) < 0);
    told("low-port", low_port());
    told("write-etc", open("/etc/escaped", O_WRONLY | O_CREAT, 0600) < 0);
    told("write-usr", open("/usr/escaped", O_WRONLY | O_CREAT, 0600) < 0);
    told("read-shadow", open("/etc/shadow", O_RDONLY) < 0);
    told("read-home", open("/root", O_RDONLY | O_DIRECTORY) < 0);
    told("others-in-proc", open("/proc/1/cmdline", O_RDONLY) < 0);
    told("disk", access("/dev/vda", F_OK) < 0);
    told("hostname", gethostname(name, sizeof name) < 0 || sethostname(name, strlen(name)) < 0);
    told("groups", setgroups(1, (gid_t[]){ 0 }) < 0);
    told("namespace", unshare(CLONE_NEWUSER) < 0);
    return 0;
}
