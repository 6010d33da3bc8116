import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.util.concurrent.locks.LockSupport;

/** A JVM with known shares: `spinMuch` has three quarters of the CPU time, `spinLittle` the rest; one thread waits in the
 *  kernel and one is parked. With the argument `allocate`, `fillMuch` allocates nine times what `fillLittle` does. It ends
 *  with the process that started it. */
public final class HotJava {
    static final ThreadMXBean THREADS = ManagementFactory.getThreadMXBean();
    static volatile long sink;
    static volatile Object kept;

    static void spinMuch(long until) {
        while (THREADS.getCurrentThreadCpuTime() < until) {
            for (int step = 0; step < 20_000; step++) sink = sink * 31 + step;
        }
    }

    static void spinLittle(long until) {
        while (THREADS.getCurrentThreadCpuTime() < until) {
            for (int step = 0; step < 20_000; step++) sink = sink * 31 + step;
        }
    }

    static void fillMuch(int steps) {
        for (int step = 0; step < 9 * steps; step++) kept = new byte[10_000];
    }

    static void fillLittle(int steps) {
        for (int step = 0; step < steps; step++) kept = new byte[10_000];
    }

    static void idleInTheKernel() {
        try (var server = new java.net.ServerSocket(0, 1, java.net.InetAddress.getLoopbackAddress())) {
            server.accept();
        } catch (java.io.IOException ended) {
            throw new IllegalStateException(ended);
        }
    }

    static void idleParked() {
        while (true) LockSupport.park();
    }

    static void daemon(String name, Runnable body) {
        var thread = new Thread(body, name);
        thread.setDaemon(true);
        thread.start();
    }

    public static void main(String[] arguments) {
        daemon("kernel", HotJava::idleInTheKernel);
        daemon("parked", HotJava::idleParked);
        var random = new java.util.Random(7);
        var parent = ProcessHandle.current().parent().map(ProcessHandle::pid).orElse(0L);
        System.out.println("ready");
        while (ProcessHandle.current().parent().map(ProcessHandle::pid).orElse(0L).equals(parent)) {
            if (arguments.length > 0) {
                // rounds of no two sizes alike: a JVM samples at every so many bytes, and could keep step with them
                int steps = 1 + random.nextInt(20);
                fillMuch(steps);
                fillLittle(steps);
                continue;
            }
            // rounds of 15 to 45 ms: with equal ones, a sampler could keep step with them
            long round = (long) (15_000_000 + 30_000_000 * random.nextDouble());
            spinMuch(THREADS.getCurrentThreadCpuTime() + round * 3 / 4);
            spinLittle(THREADS.getCurrentThreadCpuTime() + round / 4);
        }
    }
}
