/* mathf.c - elementary functions whose bits do not depend on compiler, library or machine.
 *
 * Range reduction and minimax polynomials in the manner of Cody and Waite (1980) and of Cephes;
 * only operations that IEEE 754 rounds correctly are used, in a fixed order.
 */
#include "base/mathf.h"

#include <string.h>

#include "base/half.h"

float slm_exp(float x)
{
    /* Comparisons are false for NaN, which so becomes the lower bound. */
    x = x > -87.33f ? x : -87.33f;
    x = x < 88.37f ? x : 88.37f;
    float t = x * 1.44269504f + 12582912.0f; /* low bits: round(x / ln 2) */
    float n = t - 12582912.0f;
    float r = x - n * 0.693359375f; /* the first product is exact */
    r = r - n * -2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    float y = r * r * p + r;
    y = y + 1.0f;
    return y * f32_from_bits((f32_bits(t) + 127u) << 23);
}

/* Below 0.625 a polynomial, above it 1 - 2 / (e^2x + 1), which loses no digits there. */
float slm_tanh(float x)
{
    uint32_t sign = f32_bits(x) & 0x80000000u;
    float a = f32_from_bits(f32_bits(x) & 0x7fffffffu);
    float z = a * a;
    float p = z * -5.70498872745e-3f + 2.06390887954e-2f;
    p = p * z - 5.37397155531e-2f;
    p = p * z + 1.33314422036e-1f;
    p = p * z - 3.33332819422e-1f;
    float small = a + a * z * p;
    float large = 1.0f - 2.0f / (slm_exp(a + a) + 1.0f);
    return f32_from_bits(f32_bits(a < 0.625f ? small : large) | sign);
}

static double f64_from_bits(uint64_t u)
{
    double d;
    memcpy(&d, &u, 8);
    return d;
}

static uint64_t f64_bits(double d)
{
    uint64_t u;
    memcpy(&u, &d, 8);
    return u;
}

/* x = m 2^e with m in [sqrt(1/2), sqrt(2)); ln m = 2 atanh(s), s = (m - 1) / (m + 1), |s| < 0.1716.
 */
double slm_log(double x)
{
    uint64_t u = f64_bits(x);
    int64_t e = (int64_t)(u >> 52) - 1023;
    if (e == -1023) { /* subnormal */
        u = f64_bits(x * 18014398509481984.0);
        e = (int64_t)(u >> 52) - 1023 - 54;
    }
    double m = f64_from_bits((u & 0xfffffffffffffu) | 0x3ff0000000000000u);
    if (m > 1.4142135623730951) {
        m = m * 0.5;
        e += 1;
    }
    double s = (m - 1.0) / (m + 1.0);
    double z = s * s;
    double p = 0.0;
    for (int k = 23; k >= 3; k -= 2) {
        p = (p + 1.0 / (double)k) * z;
    }
    double n = (double)e;
    double low = n * 1.90821492927058770002e-10 + 2.0 * s * p;
    return n * 6.93147180369123816490e-01 + (2.0 * s + low);
}

double slm_exp64(double x)
{
    x = x > -700.0 ? x : -700.0;
    x = x < 700.0 ? x : 700.0;
    double t = x * 1.44269504088896338700 + 6755399441055744.0;
    double n = t - 6755399441055744.0;
    double r = x - n * 6.93147180369123816490e-01;
    r = r - n * 1.90821492927058770002e-10;
    double p = 1.0;
    for (int k = 14; k >= 1; k--) {
        p = 1.0 + p * r / (double)k;
    }
    int64_t e = (int64_t)n + 1023;
    return p * f64_from_bits((uint64_t)e << 52);
}

void slm_sincos(double x, float *sine, float *cosine)
{
    double t = x * 0.63661977236758134308 + 6755399441055744.0; /* low bits: round(x / (pi/2)) */
    double n = t - 6755399441055744.0;
    int quadrant = (int)(f64_bits(t) & 3);
    double r = x - n * 1.5707963267341256;
    r = r - n * 6.0771005063039e-11;
    r = r - n * 2.0222662487959506e-21;
    double z = r * r;
    double s = 1.58969099521155010221e-10;
    s = s * z - 2.50507602534068634195e-08;
    s = s * z + 2.75573137070700676789e-06;
    s = s * z - 1.98412698298579493134e-04;
    s = s * z + 8.33333333332248946124e-03;
    s = s * z - 1.66666666666666324348e-01;
    s = r + r * z * s;
    double c = -1.13596475577881948265e-11;
    c = c * z + 2.08757232129817482790e-09;
    c = c * z - 2.75573143513906633035e-07;
    c = c * z + 2.48015872894767294178e-05;
    c = c * z - 1.38888888888741095749e-03;
    c = c * z + 4.16666666666666019037e-02;
    c = 1.0 - 0.5 * z + z * z * c;
    double a = quadrant & 1 ? c : s, b = quadrant & 1 ? s : c;
    *sine = (float)(quadrant & 2 ? -a : a);
    *cosine = (float)((quadrant + 1) & 2 ? -b : b);
}
