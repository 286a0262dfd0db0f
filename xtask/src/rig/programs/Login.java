import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.Provider;
import java.security.Security;
import java.security.Signature;
import java.security.cert.Certificate;
import java.security.spec.AlgorithmParameterSpec;
import java.security.spec.MGF1ParameterSpec;
import java.security.spec.PSSParameterSpec;
import java.util.Collections;

/** Signs with the card's login key by each algorithm, and verifies in software: Login.java CONFIGURATION PIN-FILE. */
class Login {
    private static final byte[] TEXT = "A text that is signed on the card.".getBytes(StandardCharsets.UTF_8);

    public static void main(String[] arguments) throws Exception {
        Provider token = Security.getProvider("SunPKCS11").configure(arguments[0]);
        KeyStore store = KeyStore.getInstance("PKCS11", token);
        store.load(null, Files.readString(Path.of(arguments[1])).toCharArray());
        String alias = Collections.list(store.aliases()).stream()
                .filter(name -> name.startsWith("CNS authentication")).findFirst().orElseThrow();
        PrivateKey key = (PrivateKey) store.getKey(alias, null);
        Certificate certificate = store.getCertificate(alias);
        int verified = 0;
        for (String hash : new String[] {"SHA1", "SHA224", "SHA256", "SHA384", "SHA512"}) {
            verify(token, hash + "withRSA", null, key, certificate);
            verified++;
        }
        for (String hash : new String[] {"SHA-256", "SHA-384", "SHA-512"}) {
            int salt = Integer.parseInt(hash.substring(4)) / 8;
            AlgorithmParameterSpec parameters =
                    new PSSParameterSpec(hash, "MGF1", new MGF1ParameterSpec(hash), salt, 1);
            verify(token, "RSASSA-PSS", parameters, key, certificate);
            verified++;
        }
        System.out.println(verified + " signatures verified");
    }

    private static void verify(Provider token, String algorithm, AlgorithmParameterSpec parameters, PrivateKey key,
            Certificate certificate) throws Exception {
        Signature signer = Signature.getInstance(algorithm, token);
        Signature verifier = Signature.getInstance(algorithm, "SunRsaSign");
        if (parameters != null) {
            signer.setParameter(parameters);
            verifier.setParameter(parameters);
        }
        signer.initSign(key);
        signer.update(TEXT);
        byte[] signature = signer.sign();
        verifier.initVerify(certificate.getPublicKey());
        verifier.update(TEXT);
        if (!verifier.verify(signature)) {
            throw new SecurityException(algorithm + " does not verify");
        }
        verifier.update((byte) 'x');
        if (verifier.verify(signature)) {
            throw new SecurityException(algorithm + " verifies another text");
        }
    }
}
