import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Scanner;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.common.acl.AccessControlEntry;
import org.apache.kafka.common.acl.AclBinding;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.acl.AclPermissionType;
import org.apache.kafka.common.resource.PatternType;
import org.apache.kafka.common.resource.ResourcePattern;
import org.apache.kafka.common.resource.ResourceType;

/**
 * Does what lines of {@code kafka-acls.sh --add} on its standard input say. Arguments: bootstrap.
 */
public final class Allow {
    private Allow() {
    }

    public static void main(String[] args) throws Exception {
        List<AclBinding> bindings = new ArrayList<>();
        for (Scanner lines = new Scanner(System.in); lines.hasNextLine();) {
            bindings.addAll(read(lines.nextLine().trim().split("\\s+")));
        }
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", args[0]))) {
            admin.createAcls(bindings).all().get();
            // The controller has them; the broker that decides hears of them a moment later.
            for (int looks = 0; !admin.describeAcls(AclBindingFilter.ANY).values().get().containsAll(bindings); looks++) {
                if (looks > 600) {
                    throw new IllegalStateException("the broker does not hear of it");
                }
                Thread.sleep(100);
            }
        }
    }

    private static List<AclBinding> read(String[] words) {
        String principal = null;
        List<AclOperation> operations = new ArrayList<>();
        ResourceType type = null;
        String name = null;
        PatternType pattern = PatternType.LITERAL;
        for (int at = 1; at < words.length; at++) {
            switch (words[at]) {
                case "--bootstrap-server" -> at++;
                case "--add" -> { }
                case "--allow-principal" -> principal = words[++at];
                case "--operation" -> operations.add(AclOperation.fromString(
                    words[++at].replaceAll("([a-z])([A-Z])", "$1_$2").toUpperCase()));
                case "--resource-pattern-type" -> pattern = PatternType.fromString(words[++at].toUpperCase());
                case "--topic" -> { type = ResourceType.TOPIC; name = words[++at]; }
                case "--group" -> { type = ResourceType.GROUP; name = words[++at]; }
                case "--transactional-id" -> { type = ResourceType.TRANSACTIONAL_ID; name = words[++at]; }
                case "--cluster" -> { type = ResourceType.CLUSTER; name = "kafka-cluster"; }
                default -> throw new IllegalArgumentException("kafka-acls.sh knows no " + words[at]);
            }
        }
        List<AclBinding> bindings = new ArrayList<>();
        for (AclOperation operation : operations) {
            if (operation == AclOperation.UNKNOWN) {
                throw new IllegalArgumentException("there is no such operation in: " + String.join(" ", words));
            }
            bindings.add(new AclBinding(new ResourcePattern(type, name, pattern),
                new AccessControlEntry(principal, "*", operation, AclPermissionType.ALLOW)));
        }
        return bindings;
    }
}
